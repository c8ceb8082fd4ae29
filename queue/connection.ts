/**
 * The connection to NATS, and how its errors read here.
 *
 * N1  It reconnects for ever; whoever uses it decides how long to go on trying.
 * N2  Every request has a deadline of its own; anything that a reconnect, a restart of the server
 *     or a missing stream can cause is UNAVAILABLE and may be tried again.
 * N3  A request whose connection breaks fails at once, since its answer can not come any more: a
 *     server that is lost more often than every deadline would else never get anything done.
 */
import { connect, ErrorCode, Events, NatsError, type NatsConnection } from 'nats';
import type { Clock } from '../core/clock.js';
import { AppError, invalidInput, messageOf, noSpace, unavailable } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { retry } from '../core/retry.js';
import { abortable, childController } from '../core/signals.js';

export interface Wait {
  readonly signal: AbortSignal;
}

export interface QueueOptions {
  /** `host:port`, several separated by commas. */
  readonly servers: string;
  /** Shown in the server's list of connections. */
  readonly name: string;
  readonly log: Log;
  readonly clock: Clock;
  /** How long the first connection is tried. */
  readonly connectMs?: number;
}

/** Deadline of one request. */
export const CALL_MS = 5_000;
/** How long management requests go on trying while the server is away. */
const BUDGET_MS = 30_000;
const FIRST_CONNECT_MS = 15_000;

const STREAM_MISSING = 10_059;
const CONSUMER_MISSING = 10_014;
const NO_STORAGE = new Set([10_023, 10_028, 10_047, 10_077]);
const FATAL = new Set<string>([
  ErrorCode.AuthorizationViolation,
  ErrorCode.BadAuthentication,
  ErrorCode.PermissionsViolation,
]);

export class Connection implements AsyncDisposable {
  readonly nc: NatsConnection;
  readonly options: QueueOptions;
  #connected = true;
  readonly #onDisconnect = new Set<() => void>();
  readonly #onReconnect = new Set<() => void>();

  constructor(nc: NatsConnection, options: QueueOptions) {
    this.nc = nc;
    this.options = options;
    void this.#follow();
  }

  get connected(): boolean {
    return this.#connected && !this.nc.isClosed();
  }

  /** Calls back when the connection breaks; returns the function that stops it. */
  onDisconnect(callback: () => void): () => void {
    this.#onDisconnect.add(callback);
    return () => this.#onDisconnect.delete(callback);
  }

  /** Calls back when the connection is there again; returns the function that stops it. */
  onReconnect(callback: () => void): () => void {
    this.#onReconnect.add(callback);
    return () => this.#onReconnect.delete(callback);
  }

  /** Runs a request, once there is a connection; errors become AppErrors (N3). */
  async call<T>(work: () => Promise<T>, wait: Wait): Promise<T> {
    const { servers } = this.options;
    // Not AbortSignal.any: signals that live long keep a trace of every one made from them.
    using scope = childController(wait.signal);
    const stopListening = this.onDisconnect(() =>
      scope.abort(unavailable(`the connection to nats-server at ${servers} broke`)),
    );
    try {
      if (!this.connected) await this.#reconnected(wait);
      return await abortable(work(), scope.signal);
    } catch (error) {
      if (wait.signal.aborted) throw wait.signal.reason;
      throw fromNats(error, servers);
    } finally {
      stopListening();
    }
  }

  /** Tries a request until it is answered; `budgetMs` absent = until the signal aborts. */
  async retry<T>(work: () => Promise<T>, o: Wait & { budgetMs?: number }): Promise<T> {
    return retry(() => this.call(work, o), {
      signal: o.signal,
      clock: this.options.clock,
      baseDelayMs: 50,
      maxDelayMs: 1_000,
      retryable: (error) => error instanceof AppError && error.code === 'UNAVAILABLE',
      ...(o.budgetMs === undefined ? {} : { budgetMs: o.budgetMs }),
    });
  }

  /** As `retry`, for management: gives up after a while. */
  async manage<T>(work: () => Promise<T>, wait: Wait): Promise<T> {
    return this.retry(work, { ...wait, budgetMs: BUDGET_MS });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.nc.isClosed()) return;
    // Draining waits for the server; a server that is away must not hold up the end.
    const { clock } = this.options;
    const late = new AbortController();
    await Promise.race([
      this.nc.drain().catch(() => undefined),
      clock.sleep(1_000, { signal: late.signal }).catch(() => undefined),
    ]);
    late.abort();
    if (!this.nc.isClosed()) await this.nc.close().catch(() => undefined);
  }

  /** UNAVAILABLE when there is no connection within the deadline of a request. */
  async #reconnected(wait: Wait): Promise<void> {
    let stop = (): void => undefined;
    const back = new Promise<void>((resolve) => {
      stop = this.onReconnect(resolve);
    });
    const late = new AbortController();
    const { clock, servers } = this.options;
    const over = clock.sleep(CALL_MS, late).then(
      () => Promise.reject(unavailable(`no connection to nats-server at ${servers}`)),
      () => undefined,
    );
    try {
      if (this.nc.isClosed()) throw unavailable(`the connection to ${servers} is closed`);
      await abortable(Promise.race([back, over]), wait.signal);
    } finally {
      stop();
      late.abort();
    }
  }

  async #follow(): Promise<void> {
    const { log, servers } = this.options;
    for await (const status of this.nc.status()) {
      if (status.type === Events.Disconnect) {
        this.#connected = false;
        log.warn({ servers }, 'NATS connection lost; reconnecting');
        for (const callback of [...this.#onDisconnect]) callback();
      } else if (status.type === Events.Reconnect) {
        this.#connected = true;
        for (const callback of [...this.#onReconnect]) callback();
        log.info({ servers }, 'NATS connection is back');
      }
    }
    this.#connected = false;
    for (const callback of [...this.#onDisconnect]) callback();
  }
}

/** Connects; throws UNAVAILABLE when the server does not answer in time. */
export async function openConnection(options: QueueOptions, wait?: Wait): Promise<Connection> {
  const { clock, servers, name } = options;
  const signal = wait?.signal ?? new AbortController().signal;
  const nc = await retry(
    async () => {
      try {
        return await connect({
          servers: servers.split(',').map((server) => server.trim()),
          name,
          maxReconnectAttempts: -1,
          reconnectTimeWait: 200,
          reconnectJitter: 100,
          timeout: CALL_MS,
          // A frozen server is noticed within 10 s.
          pingInterval: 5_000,
          maxPingOut: 2,
        });
      } catch (error) {
        throw fromNats(error, servers);
      }
    },
    {
      signal,
      clock,
      baseDelayMs: 100,
      maxDelayMs: 500,
      budgetMs: options.connectMs ?? FIRST_CONNECT_MS,
    },
  );
  return new Connection(nc, options);
}

/** Turns an error of the NATS client into an AppError. */
export function fromNats(error: unknown, servers: string): unknown {
  if (error instanceof AppError || !(error instanceof Error)) return error;
  const options = { cause: error };
  const text = messageOf(error);
  const api = error instanceof NatsError ? error.api_error : undefined;
  if (api && NO_STORAGE.has(api.err_code ?? 0)) {
    return noSpace(`nats-server at ${servers} has no room left: ${api.description}`, options);
  }
  if (api && api.err_code !== STREAM_MISSING && api.code < 500) {
    const code = api.err_code === CONSUMER_MISSING ? 'UNAVAILABLE' : 'INTERNAL';
    return new AppError(code, `nats-server at ${servers}: ${api.description}`, options);
  }
  const code = (error as { code?: string }).code ?? '';
  if (code === ErrorCode.MaxPayloadExceeded) {
    return invalidInput(`a message is larger than nats-server takes: ${text}`, options);
  }
  if (FATAL.has(code)) {
    const message = `nats-server at ${servers} refuses the connection: ${text}`;
    return new AppError('PERMISSION_DENIED', message, options);
  }
  if (code === '503' && text.includes('jetstream')) {
    return unavailable(
      `nats-server at ${servers} runs without JetStream; start it with -js`,
      options,
    );
  }
  const what = code === ErrorCode.Timeout ? 'did not answer in time' : `is not reachable (${text})`;
  return unavailable(`nats-server at ${servers} ${what}; is it running?`, options);
}

/** True when the error says that the stream does not exist (or nobody serves it). */
export function streamMissing(error: unknown): boolean {
  for (let current: unknown = error; current instanceof Error; current = current.cause) {
    if (!(current instanceof NatsError)) continue;
    if (current.api_error?.err_code === STREAM_MISSING) return true;
    if (String(current.code) === '503') return true;
  }
  return false;
}

/** True when the error says that the consumer does not exist. */
export function consumerMissing(error: unknown): boolean {
  for (let current: unknown = error; current instanceof Error; current = current.cause) {
    if (current instanceof NatsError && current.api_error?.err_code === CONSUMER_MISSING)
      return true;
  }
  return false;
}
