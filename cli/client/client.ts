/**
 * The connection to a server: v1 service clients over one channel, errors turned into AppErrors
 * with the bare server message, and a next step when the server can not be reached.
 */
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  credentials,
  Metadata,
  type CallOptions,
  type ChannelCredentials,
  type ChannelOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ServiceError,
} from '@grpc/grpc-js';
import type { AppError } from '../../core/errors.js';
import { unavailable } from '../../core/errors.js';
import { addAbortListener } from '../../core/signals.js';
import { CLIENT_OPTIONS } from '../../proto/channel.js';
import type { APIClient as PfsApi } from '../../proto/generated/pfs.js';
import { PfsClient } from '../../proto/services.js';
import { fromStatus } from '../../proto/status.js';
import type { Env } from '../session.js';
import { formatAddress, type Address, type Target } from './address.js';

const OPTIONS: ChannelOptions = {
  ...CLIENT_OPTIONS,
  // Nobody publishes service configs in DNS for us; asking costs a round trip.
  'grpc.service_config_disable_resolution': 1,
  // Streams of file bytes must not be kept in memory for a retry that can not happen.
  'grpc.enable_retries': 0,
};

type UnaryMethod<Q, S> = (
  request: Q,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: S) => void,
) => ClientUnaryCall;

type StreamMethod<Q, S> = (request: Q, metadata: Metadata) => ClientReadableStream<S>;

export class Client {
  readonly target: Target;
  readonly signal: AbortSignal;
  /** The pfs service, methods bound. */
  readonly pfs: PfsApi;
  readonly #credentials: ChannelCredentials;

  constructor(target: Target, env: Env, signal: AbortSignal) {
    this.target = target;
    this.signal = signal;
    this.#credentials = channelCredentials(target, env);
    this.pfs = this.service(PfsClient);
  }

  /** A service on the shared channel (channels with equal options share their connection). */
  service<S>(
    Make: new (address: string, credentials: ChannelCredentials, options: ChannelOptions) => S,
  ): S {
    const client = new Make(dialAddress(this.target.address), this.#credentials, OPTIONS);
    return bound(client);
  }

  /** Metadata of every call: session token and active transaction, when there are any. */
  metadata(): Metadata {
    const metadata = new Metadata();
    const { session_token: token, active_transaction: transaction } = this.target.context;
    if (token) metadata.set('authn-token', token);
    if (transaction) metadata.set('pach-transaction', transaction);
    return metadata;
  }

  /** Calls a unary method. Throws an AppError with the server's message. */
  unary<Q, S>(method: UnaryMethod<Q, S>, request: Q, deadlineMs?: number): Promise<S> {
    return new Promise<S>((resolve, reject) => {
      const options: Partial<CallOptions> =
        deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
      const call = method(request, this.metadata(), options, (error, response) => {
        stop();
        if (error) reject(this.translate(error));
        else resolve(response);
      });
      const stop = addAbortListener(this.signal, () => call.cancel());
    });
  }

  /** Calls a method that answers with a stream. Leaving the loop early cancels the call. */
  async *stream<Q, S>(method: StreamMethod<Q, S>, request: Q): AsyncGenerator<S> {
    const call = method(request, this.metadata());
    const stop = addAbortListener(this.signal, () => call.cancel());
    let ended = false;
    try {
      for await (const message of call as AsyncIterable<S>) yield message;
      ended = true;
    } catch (error) {
      throw this.translate(error);
    } finally {
      stop();
      if (!ended) call.cancel();
    }
  }

  /** The error to show for a failed call. */
  translate(error: unknown): AppError {
    const app = fromStatus(error);
    const told = (error as Partial<ServiceError>).metadata?.get('tusk-code')[0];
    if (app.code !== 'UNAVAILABLE' || told !== undefined) return app;
    return this.#unreachable(app.message, error);
  }

  #unreachable(text: string, cause: unknown): AppError {
    const where = `could not connect to pachd at "${formatAddress(this.target.address)}"`;
    const reasons: readonly [RegExp, string][] = [
      [/ECONNREFUSED/, 'connection refused'],
      [/ENOTFOUND|EAI_AGAIN|Name resolution/, 'no such host'],
      [/ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|deadline/i, 'context deadline exceeded'],
      [/ECONNRESET|Connection dropped|closed/i, 'the connection broke off'],
    ];
    const reason = reasons.find(([pattern]) => pattern.test(text))?.[1] ?? text;
    const broke = reason === 'the connection broke off';
    const step = broke
      ? 'The server stopped or restarted; try again, and look at its log if it happens again.'
      : `Start a local stack with 'tusk up --detach', or set PACHD_ADDRESS=host:port (this address came from ${this.target.source}).`;
    return unavailable(`${where}: ${reason}\n${step}`, { cause });
  }
}

/** Loopback needs no name service; everything else goes through it. */
function dialAddress(address: Address): string {
  const { host, port } = address;
  if (host === 'localhost') return `ipv4:127.0.0.1:${port}`;
  if (/^\d+\.\d+\.\d+\.\d+$/.test(host)) return `ipv4:${host}:${port}`;
  return host.startsWith('[') ? `ipv6:${host}:${port}` : `dns:${host}:${port}`;
}

function channelCredentials(target: Target, env: Env): ChannelCredentials {
  if (!target.address.secure) return credentials.createInsecure();
  const { server_cas: inContext } = target.context;
  const files = env['PACH_CA_CERTS'];
  if (files) return credentials.createSsl(Buffer.concat(certificates(files)));
  return inContext
    ? credentials.createSsl(Buffer.from(inContext, 'base64'))
    : credentials.createSsl();
}

function certificates(list: string): Buffer[] {
  return list
    .split(',')
    .flatMap((place) =>
      statSync(place).isDirectory()
        ? readdirSync(place).map((name) => readFileSync(join(place, name)))
        : [readFileSync(place)],
    );
}

/** Generated clients keep their methods on the prototype and need `this`; bind them once. */
function bound<S>(client: S): S {
  const methods = client as unknown as Record<string, unknown>;
  for (const name of Object.keys(Object.getPrototypeOf(client) as object)) {
    const method = methods[name];
    if (typeof method === 'function') methods[name] = method.bind(client) as unknown;
  }
  return client;
}
