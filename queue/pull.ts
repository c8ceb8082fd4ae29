/**
 * One pull request to a JetStream consumer: asks for up to `max` messages and hands them on as they
 * come, until they are all there, the time is over, or the connection is in doubt. Always ends by
 * itself; the caller asks again.
 *
 * P1  A request that the server may have forgotten (disconnect, missed heartbeats, consumer gone)
 *     ends at once with what has come, and says why.
 * P2  Messages that came but were not taken any more are given back; so are those that a server
 *     which had been silent sends after all (else they would be stuck for the whole ack wait).
 */
import { createInbox, nanos, type Msg, type Subscription } from 'nats';
import { addAbortListener } from '../core/signals.js';
import type { Connection, Wait } from './connection.js';

export interface PullRequest extends Wait {
  readonly stream: string;
  readonly consumer: string;
  readonly max: number;
  readonly expiresMs: number;
}

/** Where a message stands, from its reply subject. */
export interface Delivery {
  readonly message: Msg;
  /** 1 = first time. */
  readonly deliveries: number;
  readonly streamSequence: number;
  /** Counts deliveries of the consumer: a jump means that messages were missed. */
  readonly consumerSequence: number;
}

/** Why a pull ended: all came, time over, or the request is in doubt. */
export type PullEnd = 'full' | 'expired' | 'gone' | 'disconnected' | 'silent';

const HEARTBEAT_MAX_MS = 5_000;
const GRACE_MS = 1_000;
const LINGER_MS = 60_000;
const text = new TextEncoder();

/** Runs one pull; yields messages and returns why it ended. */
export async function* pull(
  connection: Connection,
  request: PullRequest,
): AsyncGenerator<Delivery, PullEnd> {
  const run = new Pull(connection, request);
  try {
    for (;;) {
      const next = await run.next();
      if (typeof next === 'string') return next;
      yield next;
    }
  } finally {
    run.close();
  }
}

class Pull {
  readonly #connection: Connection;
  readonly #request: PullRequest;
  readonly #arrived: Delivery[] = [];
  readonly #stop: () => void;
  readonly #quiet = new AbortController();
  #left: number;
  #end: PullEnd | undefined;
  #closed = false;
  /** The server may still answer the request. */
  #doubtful = false;
  #wake: () => void = () => undefined;
  #heardMs: number;

  constructor(connection: Connection, request: PullRequest) {
    this.#connection = connection;
    this.#request = request;
    this.#left = request.max;
    this.#heardMs = connection.options.clock.monotonicMs();
    const { nc } = connection;
    const inbox = createInbox();
    const subscription = nc.subscribe(inbox, { callback: (_error, msg) => this.#receive(msg) });
    const stopListening = connection.onDisconnect(() => this.#finish('disconnected'));
    const stopAbort = addAbortListener(request.signal, () => this.#wake());
    this.#stop = () => {
      stopListening();
      stopAbort();
      this.#quiet.abort();
      if (this.#doubtful) void this.#linger(subscription);
      else if (!nc.isClosed()) subscription.unsubscribe();
    };
    if (!connection.connected) {
      this.#finish('disconnected');
      return;
    }
    // The server demands a heartbeat below half of the request's life.
    const heartbeatMs = Math.min(HEARTBEAT_MAX_MS, Math.floor(request.expiresMs / 2) - 50);
    const body = {
      batch: request.max,
      expires: nanos(request.expiresMs),
      ...(heartbeatMs >= 100 ? { idle_heartbeat: nanos(heartbeatMs) } : {}),
    };
    const subject = `$JS.API.CONSUMER.MSG.NEXT.${request.stream}.${request.consumer}`;
    nc.publish(subject, text.encode(JSON.stringify(body)), { reply: inbox });
    void this.#watch(heartbeatMs >= 100 ? heartbeatMs : request.expiresMs);
  }

  async next(): Promise<Delivery | PullEnd> {
    for (;;) {
      this.#request.signal.throwIfAborted();
      const first = this.#arrived.shift();
      if (first) return first;
      if (this.#end) return this.#end;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stop();
    // P2: nobody will look at these any more.
    for (const { message } of this.#arrived.splice(0)) message.respond(text.encode('-NAK'));
  }

  #receive(message: Msg): void {
    this.#heardMs = this.#connection.options.clock.monotonicMs();
    const delivery = parseDelivery(message);
    if (delivery && this.#closed) {
      message.respond(text.encode('-NAK'));
      return;
    }
    if (delivery) {
      this.#arrived.push(delivery);
      this.#left -= 1;
      if (this.#left <= 0) this.#finish('full');
      this.#wake();
      return;
    }
    const status = message.headers?.code ?? 0;
    if (status === 100) return;
    this.#finish(status === 408 || status === 404 ? 'expired' : 'gone');
  }

  #finish(end: PullEnd): void {
    this.#end ??= end;
    this.#wake();
  }

  /** Goes on listening for what a frozen server sends when it wakes up (P2). */
  async #linger(subscription: Subscription): Promise<void> {
    const { clock } = this.#connection.options;
    await clock.sleep(LINGER_MS, this.#request).catch(() => undefined);
    if (!this.#connection.nc.isClosed()) subscription.unsubscribe();
  }

  /** Ends the pull when the server has been silent for two heartbeats, or its time is long over. */
  async #watch(heartbeatMs: number): Promise<void> {
    const { clock } = this.#connection.options;
    const { signal } = this.#quiet;
    const overMs = clock.monotonicMs() + this.#request.expiresMs + GRACE_MS;
    while (!signal.aborted && !this.#end) {
      const now = clock.monotonicMs();
      const silentMs = this.#heardMs + 2 * heartbeatMs + GRACE_MS - now;
      if (overMs - now <= 0 || silentMs <= 0) {
        this.#doubtful = true;
        this.#finish('silent');
      } else await clock.sleep(Math.min(silentMs, overMs - now), { signal }).catch(() => undefined);
    }
  }
}

/** Reads `$JS.ACK.…`; undefined for status messages. */
function parseDelivery(message: Msg): Delivery | undefined {
  const tokens = message.reply?.split('.') ?? [];
  if (tokens[0] !== '$JS' || tokens[1] !== 'ACK') return undefined;
  // Old form: 9 tokens; newer ones carry domain and account after the first two.
  const at = tokens.length === 9 ? 4 : 6;
  return {
    message,
    deliveries: Number(tokens[at]),
    streamSequence: Number(tokens[at + 1]),
    consumerSequence: Number(tokens[at + 2]),
  };
}
