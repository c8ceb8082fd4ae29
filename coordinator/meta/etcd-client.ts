/**
 * The six calls of etcd that we use, each with a deadline, none retried here. The client library's
 * circuit breaker and retry policies are switched off: they answer for seconds after the server is
 * back, and re-send writes whose outcome is unknown.
 */
import { EventEmitter } from 'node:events';
import {
  castGrpcError,
  Etcd3,
  type IOptions,
  type IRequestOp,
  type IResponseOp,
  type IWatchResponse,
} from 'etcd3';
import { unavailable } from '../../core/errors.js';
import { abortable } from '../../core/signals.js';
import type { Clock } from '../../core/clock.js';
import { fromEtcd } from './etcd-errors.js';
import {
  KeySpace,
  prefixEnd,
  type Compare,
  type Op,
  type RangeResult,
  type TxnResult,
} from './kv.js';

export interface EtcdOptions {
  readonly endpoints: readonly string[];
  readonly prefix?: string;
  readonly clock: Clock;
  /** Deadline of one call. */
  readonly callMs?: number;
}

export interface RangeRequest {
  readonly from: string;
  /** Absent = the one key; `'\0'` = to the end. */
  readonly to?: string;
  readonly limit?: number;
  readonly reverse?: boolean;
  readonly keysOnly?: boolean;
  /** Snapshot to read; absent = the newest. */
  readonly revision?: number;
}

interface Wait {
  readonly signal: AbortSignal;
}

/** A raw bidirectional stream of the client. */
export interface RawStream<Request, Response> {
  on(event: 'data', listener: (response: Response) => void): this;
  on(event: 'error', listener: (error: Error) => void): this;
  on(event: 'end', listener: () => void): this;
  write(request: Request): boolean;
  cancel(): void;
}

export interface KeepAliveResponse {
  readonly ID: string;
  readonly TTL: string;
}

type Policy = NonNullable<NonNullable<IOptions['faultHandling']>['global']>;

/** Calls straight through. */
const straight = {
  execute: async (work: (context: { signal: AbortSignal }) => unknown) =>
    work({ signal: new AbortController().signal }),
  onSuccess: () => ({ dispose: () => undefined }),
  onFailure: () => ({ dispose: () => undefined }),
} as unknown as Policy;

const CALL_MS = 4_000;

export class EtcdClient {
  readonly keys: KeySpace;
  readonly endpoints: string;
  readonly #client: Etcd3;
  readonly #clock: Clock;
  readonly #callMs: number;
  #closed = false;

  constructor(options: EtcdOptions) {
    this.keys = new KeySpace(options.prefix ?? '');
    this.endpoints = options.endpoints.join(', ');
    this.#clock = options.clock;
    this.#callMs = options.callMs ?? CALL_MS;
    this.#client = new Etcd3({
      hosts: [...options.endpoints],
      faultHandling: { global: straight, host: () => straight },
      grpcOptions: {
        // A stopped server is noticed on idle streams within 13 s (etcd refuses faster pings).
        'grpc.keepalive_time_ms': 10_000,
        'grpc.keepalive_timeout_ms': 3_000,
        'grpc.keepalive_permit_without_calls': 1,
        'grpc.initial_reconnect_backoff_ms': 50,
        'grpc.min_reconnect_backoff_ms': 50,
        'grpc.max_reconnect_backoff_ms': 500,
        'grpc.enable_retries': 0,
        // etcd limits what it takes; what it sends back may be longer.
        'grpc.max_receive_message_length': -1,
        'grpc.max_send_message_length': -1,
      },
    });
  }

  async range(request: RangeRequest, wait: Wait): Promise<RangeResult> {
    const response = await this.#call(wait, (deadline) =>
      this.#client.kv.range(
        {
          key: this.keys.encode(request.from),
          ...(request.to === undefined ? {} : { range_end: this.keys.encodeEnd(request.to) }),
          ...(request.limit === undefined ? {} : { limit: request.limit }),
          ...(request.reverse ? { sort_order: 'Descend', sort_target: 'Key' } : {}),
          ...(request.keysOnly ? { keys_only: true } : {}),
          ...(request.revision === undefined ? {} : { revision: request.revision }),
        },
        deadline,
      ),
    );
    return this.keys.decodeRange(response);
  }

  async txn(
    request: { compare: readonly Compare[]; success: readonly Op[]; failure: readonly Op[] },
    wait: Wait,
  ): Promise<TxnResult> {
    const ops = (list: readonly Op[]): IRequestOp[] => list.map((op) => this.keys.encodeOp(op));
    const response = await this.#call(wait, (deadline) =>
      this.#client.kv.txn(
        {
          compare: request.compare.map((compare) => this.keys.encodeCompare(compare)),
          success: ops(request.success),
          failure: ops(request.failure),
        },
        deadline,
      ),
    );
    return {
      succeeded: response.succeeded,
      revision: Number(response.header.revision),
      responses: response.responses.map((each: IResponseOp) =>
        each.response_range ? this.keys.decodeRange(each.response_range).kvs : [],
      ),
    };
  }

  /** Reads several keys (or prefixes) at one revision. */
  async readAll(ops: readonly Op[], o: Wait & { readonly revision?: number }): Promise<TxnResult> {
    const requests = ops.map((op) => {
      const request = this.keys.encodeOp(op);
      if (o.revision !== undefined && request.request_range) {
        request.request_range.revision = o.revision;
      }
      return request;
    });
    const response = await this.#call(o, (deadline) =>
      this.#client.kv.txn({ success: requests }, deadline),
    );
    return {
      succeeded: true,
      revision: Number(response.header.revision),
      responses: response.responses.map((each: IResponseOp) =>
        each.response_range ? this.keys.decodeRange(each.response_range).kvs : [],
      ),
    };
  }

  /** Makes a lease; its id. */
  async grant(ttlMs: number, wait: Wait): Promise<string> {
    const ttl = Math.max(1, Math.ceil(ttlMs / 1000));
    const response = await this.#call(wait, (deadline) =>
      this.#client.leaseClient.leaseGrant({ TTL: ttl }, deadline),
    );
    return response.ID;
  }

  async revoke(lease: string, wait: Wait): Promise<void> {
    await this.#call(wait, (deadline) =>
      this.#client.leaseClient.leaseRevoke({ ID: lease }, deadline),
    );
  }

  /** Forgets history before the revision; tests use it to cut watches off. */
  async compact(revision: number, wait: Wait): Promise<void> {
    await this.#call(wait, (deadline) => this.#client.kv.compact({ revision }, deadline));
  }

  /** Opens a stream that keeps leases alive. */
  async keepAlive(): Promise<RawStream<{ ID: string }, KeepAliveResponse>> {
    return (await this.#stream(() =>
      this.#client.leaseClient.leaseKeepAlive(),
    )) as unknown as RawStream<{ ID: string }, KeepAliveResponse>;
  }

  /** Opens a stream of the changes to every key with `prefix`, from `revision` on. */
  async watch(prefix: string, revision: number): Promise<RawStream<unknown, IWatchResponse>> {
    const stream = (await this.#stream(() =>
      this.#client.watchClient.watch(),
    )) as unknown as RawStream<unknown, IWatchResponse>;
    stream.write({
      create_request: {
        key: this.keys.encode(prefix),
        range_end: this.keys.encodeEnd(prefixEnd(prefix)),
        start_revision: revision,
      },
    });
    return stream;
  }

  /** The AppError for an error of a raw stream. */
  translate(error: unknown): unknown {
    return fromEtcd(error instanceof Error ? castGrpcError(error) : error, this.endpoints);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#client.close();
  }

  async #stream(open: () => Promise<unknown>): Promise<unknown> {
    this.#assertOpen();
    const stream = await open();
    // Errors after the last reader left must not end the process.
    if (stream instanceof EventEmitter) stream.on('error', () => undefined);
    return stream;
  }

  async #call<T>(wait: Wait, call: (options: { deadline: number }) => Promise<T>): Promise<T> {
    this.#assertOpen();
    wait.signal.throwIfAborted();
    // gRPC deadlines are wall-clock times of this process; only their distance matters.
    const running = call({ deadline: this.#clock.wallMs() + this.#callMs });
    try {
      return await abortable(running, wait.signal);
    } catch (error) {
      if (wait.signal.aborted) {
        running.catch(() => undefined);
        throw wait.signal.reason;
      }
      throw fromEtcd(error, this.endpoints);
    }
  }

  #assertOpen(): void {
    if (this.#closed) throw unavailable('the metadata store is closed');
  }
}
