/**
 * The only functions that touch gRPC streams on the server (the client side is in the callers).
 *
 * S1  An upload that stops is not an upload that ended: `receiveStream` ends normally only when the
 *     end is proven; a cancelled, killed or timed-out client always makes it throw.
 * S2  Every message and the final status are delivered: writes wait for `drain`, and failures are
 *     emitted on the call instead of destroying it.
 */
import type {
  Metadata,
  ServerDuplexStream,
  ServerReadableStream,
  ServerWritableStream,
} from '@grpc/grpc-js';
import { cancelled, deadline } from '../core/errors.js';
import { addAbortListener } from '../core/signals.js';

/** Metadata by which a client promises to mark its last message (`end` of PutFileRequest). */
export const END_MARKER = 'tusk-end-marker';

export interface ReceiveOptions<T> {
  readonly signal: AbortSignal;
  /** Recognises the in-band end marker; it is required when the client announced one. */
  readonly isEnd?: (message: T) => boolean;
}

type Readable<T> = ServerReadableStream<T, unknown> | ServerDuplexStream<T, unknown>;

/**
 * The messages of a client stream. Throws CANCELLED or DEADLINE when the client went away, also
 * when the transport made it look like an ordinary end (S1).
 */
export async function* receiveStream<T>(
  call: Readable<T>,
  options: ReceiveOptions<T>,
): AsyncGenerator<T> {
  const announced = call.metadata.get(END_MARKER).length > 0 && options.isEnd !== undefined;
  let ended = false;
  let whole = false;
  try {
    // The default iterator destroys the call at its end with an error nobody sees, whose stack trace
    // costs more than a small upload.
    for await (const message of call.iterator({ destroyOnReturn: false }) as AsyncIterable<T>) {
      options.signal.throwIfAborted();
      if (options.isEnd?.(message)) ended = true;
      else yield message;
    }
    whole = true;
  } catch (error) {
    options.signal.throwIfAborted();
    throw cancelled('the upload broke off before its end; nothing was stored', { cause: error });
  } finally {
    if (!whole) call.destroy();
  }
  if ((announced && !ended) || isCutOff(call)) throw brokenOff();
  if (!announced) await proveEnd(call);
  options.signal.throwIfAborted();
}

/**
 * The client closed its side inside a message. grpc-js 1.14 drops the rest of such a message without
 * a word; its decoder (a private field, hence the test) knows that it waits for more.
 */
function isCutOff<T>(call: Readable<T>): boolean {
  const inner = call as unknown as { call?: { decoder?: { readState?: number } } };
  return (inner.call?.decoder?.readState ?? 0) !== 0;
}

/** Without a marker the end is timing: wait until a cancel that raced with it had time to show. */
async function proveEnd<T>(call: Readable<T>): Promise<void> {
  const until = call.getDeadline();
  const untilMs = until instanceof Date ? until.getTime() : until;
  if (untilMs <= Date.now()) throw deadline('the deadline passed before the upload ended');
  call.sendMetadata(emptyMetadata(call));
  for (let turn = 0; turn < 3; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    if (call.cancelled) throw brokenOff();
  }
}

function emptyMetadata<T>(call: Readable<T>): Metadata {
  const metadata = call.metadata.clone();
  for (const key of Object.keys(metadata.getMap())) metadata.remove(key);
  return metadata;
}

function brokenOff(): Error {
  return cancelled('the upload broke off before its end; nothing was stored');
}

/** Reads and drops what the client still sends, so that it sees our status instead of a reset. */
export async function discardRest<T>(call: Readable<T>): Promise<void> {
  try {
    // The iterator was closed by the failed handler; plain flowing mode drains the rest.
    if (call.readableEnded || call.destroyed) return;
    await new Promise<void>((resolve) => {
      call.once('end', resolve);
      call.once('close', resolve);
      call.once('cancelled', resolve);
      call.on('data', () => undefined);
      call.resume();
    });
  } catch {
    // The client is gone; there is nobody left to tell.
  }
}

/** Messages and bytes of one call that may be on their way to the socket. */
const SENDING_MAX = 128;
const SENDING_BYTES_MAX = 4 * 1024 * 1024;
/** What a message that is not bytes counts for. */
const MESSAGE_BYTES = 512;

/** Writes every item, waiting for the client to keep up; ends the call when the source ends (S2). */
export async function sendStream<T>(
  call: ServerWritableStream<unknown, T> | ServerDuplexStream<unknown, T>,
  items: AsyncIterable<T>,
  options: { readonly signal: AbortSignal },
): Promise<void> {
  const sender = new Sender(call, options.signal);
  for await (const item of items) {
    options.signal.throwIfAborted();
    const room = sender.send(item);
    if (room) await room;
  }
  options.signal.throwIfAborted();
  call.end();
}

/** The object behind a call that frames messages and hands them to HTTP/2. */
interface MessageSink<T> {
  sendMessage(message: T, done: () => void): void;
}

/**
 * Sends messages without waiting for the socket after each: `call.write` does, and then every entry
 * of a listing is a system call of its own (measured: half of the time of a listing). Leans on a
 * private field of grpc-js 1.14; where it is missing, `call.write` serves.
 */
class Sender<T> {
  readonly #call: ServerWritableStream<unknown, T> | ServerDuplexStream<unknown, T>;
  readonly #signal: AbortSignal;
  readonly #sink: MessageSink<T> | undefined;
  #messages = 0;
  #bytes = 0;
  #wake: (() => void) | undefined;

  constructor(
    call: ServerWritableStream<unknown, T> | ServerDuplexStream<unknown, T>,
    signal: AbortSignal,
  ) {
    this.#call = call;
    this.#signal = signal;
    const { call: sink } = call as unknown as { readonly call?: Partial<MessageSink<T>> };
    this.#sink = typeof sink?.sendMessage === 'function' ? (sink as MessageSink<T>) : undefined;
  }

  /** Sends a message; a promise when the caller must wait before the next one. */
  send(item: T): Promise<void> | undefined {
    if (!this.#sink) return this.#call.write(item) ? undefined : drained(this.#call, this.#signal);
    const bytes = Buffer.isBuffer(item) ? item.length : MESSAGE_BYTES;
    this.#messages += 1;
    this.#bytes += bytes;
    this.#sink.sendMessage(item, () => {
      this.#messages -= 1;
      this.#bytes -= bytes;
      if (this.#hasRoom()) this.#wake?.();
    });
    return this.#hasRoom() ? undefined : this.#room();
  }

  #hasRoom(): boolean {
    return this.#messages < SENDING_MAX && this.#bytes < SENDING_BYTES_MAX;
  }

  /** A call that was cancelled never reports its messages as sent; the signal ends the wait. */
  async #room(): Promise<void> {
    this.#signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const stop = addAbortListener(this.#signal, () => reject(this.#signal.reason as Error));
      this.#wake = () => {
        this.#wake = undefined;
        stop();
        resolve();
      };
    });
  }
}

async function drained(
  call: { once(event: 'drain', listener: () => void): unknown; off: NodeJS.EventEmitter['off'] },
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const onDrain = (): void => {
      stop();
      resolve();
    };
    const stop = addAbortListener(signal, () => {
      call.off('drain', onDrain);
      reject(signal.reason as Error);
    });
    call.once('drain', onDrain);
  });
}
