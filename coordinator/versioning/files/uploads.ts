/**
 * Uploads that survive their connection: what was received stays with the upload, and a later call
 * goes on where the one before broke off.
 *
 * U1  Only the proven end of a call that held the upload to the last message makes it visible (P1
 *     of put-files.ts): one that nobody takes up again is aborted and leaves nothing behind.
 * U2  One call at a time feeds an upload; who asks for its position takes it away from the others.
 * U3  Memory: a few messages per upload, and the open chunk and pack of each that is parked; of
 *     parked ones there are at most `parkedMax`, the oldest make room.
 * U4  The result of an upload is kept as long as a parked one, so that a client whose connection
 *     broke while it was stored learns what became of it.
 */
import type { Clock } from '../../../core/clock.js';
import { cancelled, codeOf, invalidInput, notFound, stateConflict } from '../../../core/errors.js';
import { abortable, cancelledBy } from '../../../core/signals.js';
import type { PutItem } from './put-files.js';

/** How much of an upload has been received. */
export interface UploadPosition {
  /** Messages that named a file. */
  readonly files: number;
  /** Bytes of the last of them. */
  readonly bytes: number;
}

export interface UploadState extends UploadPosition {
  /** Path of the last file as sent. */
  readonly path: string;
  readonly done: boolean;
}

interface CallOptions {
  readonly signal: AbortSignal;
  readonly requestId: string;
}

export interface UploadsDeps {
  /** Stores a whole stream of puts (putFiles). */
  readonly put: (items: AsyncIterable<PutItem>, options: CallOptions) => Promise<void>;
  readonly clock: Clock;
  /** How long a parked upload and a result are kept. */
  readonly keepMs?: number;
  readonly parkedMax?: number;
}

const KEEP_MS = 5 * 60_000;
const PARKED_MAX = 32;
const RESULTS_MAX = 1_000;
const QUEUED_ITEMS = 256;
const QUEUED_BYTES = 8 * 1024 * 1024;

export class Uploads implements AsyncDisposable {
  readonly #deps: UploadsDeps;
  readonly #all = new Map<string, Upload>();

  constructor(deps: UploadsDeps) {
    this.#deps = deps;
  }

  /**
   * Takes the messages of one call: the first one of an upload (`at` undefined), or one that goes on
   * at a position. Resolves when everything is stored. Throws what the upload failed with; NOT_FOUND
   * and STATE_CONFLICT when there is nothing to go on with at that position.
   */
  async feed(
    id: string,
    at: UploadPosition | undefined,
    items: AsyncIterable<PutItem>,
    options: CallOptions,
  ): Promise<void> {
    const upload = at ? this.#known(id) : this.#start(id, options.requestId);
    const hold = upload.take(at);
    try {
      for await (const item of items) {
        const room = upload.add(hold, item);
        if (room) await room;
      }
      upload.end(hold);
    } catch (error) {
      const gone = codeOf(error) === 'CANCELLED' || codeOf(error) === 'DEADLINE';
      if (!upload.holds(hold)) throw error;
      if (gone) this.#park(upload);
      else upload.abort(error as Error);
      throw error;
    }
    await abortable(upload.result, options.signal);
  }

  /** Takes an upload away from the call that feeds it and tells its position; waits for one that ended. */
  async resume(id: string, wait: { readonly signal: AbortSignal }): Promise<UploadState> {
    const upload = this.#known(id);
    if (upload.ended) {
      await abortable(upload.result, wait.signal);
      return { ...upload.position, path: upload.path, done: true };
    }
    upload.drop();
    this.#park(upload);
    return { ...upload.position, path: upload.path, done: false };
  }

  /** Ends an upload that did not end by itself; nothing of it becomes visible. */
  async abandon(id: string): Promise<void> {
    const upload = this.#all.get(id);
    if (!upload) return;
    if (!upload.ended) upload.abort(cancelled('the upload was abandoned; nothing was stored'));
    await upload.result.catch(() => undefined);
    this.#all.delete(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#all.values()];
    for (const upload of all) upload.abort(cancelledBy('the end of the coordinator'));
    await Promise.allSettled(all.map(({ result }) => result));
  }

  #start(id: string, requestId: string): Upload {
    if (this.#all.has(id)) throw invalidInput(`there is an upload ${id} already`);
    this.#sweep();
    const upload = new Upload(id);
    this.#all.set(id, upload);
    upload.run((items, signal) => this.#deps.put(items, { signal, requestId }));
    upload.result.then(
      () => upload.settle(this.#deps.clock.monotonicMs()),
      () => upload.settle(this.#deps.clock.monotonicMs()),
    );
    return upload;
  }

  #known(id: string): Upload {
    const upload = this.#all.get(id);
    if (upload) return upload;
    throw notFound(`nothing is known of the upload ${id}: it has to be sent from its beginning`);
  }

  /** Nobody feeds the upload: it waits to be taken up, for a while. */
  #park(upload: Upload): void {
    const parked = [...this.#all.values()].filter((other) => other.parked);
    if (parked.length >= (this.#deps.parkedMax ?? PARKED_MAX)) {
      const oldest = parked.reduce((a, b) => (a.parkedAt < b.parkedAt ? a : b));
      oldest.abort(cancelled('the upload waited while too many others did; nothing was stored'));
    }
    const turn = upload.park(this.#deps.clock.monotonicMs());
    const over = (): void =>
      upload.abort(cancelled('the upload broke off and was not continued; nothing was stored'));
    this.#deps.clock
      .sleep(this.#deps.keepMs ?? KEEP_MS, { signal: turn.signal })
      .then(over, () => undefined);
  }

  /** Forgets results that nobody has asked for. */
  #sweep(): void {
    const old = this.#deps.clock.monotonicMs() - (this.#deps.keepMs ?? KEEP_MS);
    for (const [id, { settledAt }] of this.#all) {
      if (settledAt === undefined) continue;
      if (settledAt >= old && this.#all.size <= RESULTS_MAX) return;
      this.#all.delete(id);
    }
  }
}

/** The right of one call to feed an upload. */
interface Hold {
  readonly number: number;
}

class Upload {
  result: Promise<void> = Promise.resolve();
  path = '';
  /** The end was received, or it failed: nothing more is taken. */
  ended = false;
  settledAt: number | undefined;
  parkedAt = 0;
  readonly #control = new AbortController();
  #hold: Hold | undefined;
  #holds = 0;
  #turn: AbortController | undefined;
  #files = 0;
  #bytes = 0;
  #queue: PutItem[] = [];
  #queuedBytes = 0;
  #wakeReader: (() => void) | undefined;
  #wakeFeeder: (() => void) | undefined;

  constructor(readonly id: string) {}

  get position(): UploadPosition {
    return { files: this.#files, bytes: this.#bytes };
  }

  get parked(): boolean {
    return this.#turn !== undefined && !this.ended;
  }

  run(put: (items: AsyncIterable<PutItem>, signal: AbortSignal) => Promise<void>): void {
    this.result = put(this.#items(), this.#control.signal);
    this.result.catch(() => undefined);
  }

  /** The put is over, well or not. */
  settle(nowMs: number): void {
    this.settledAt = nowMs;
    this.ended = true;
    this.#queue = [];
    this.#unpark();
    this.#wakeFeeder?.();
  }

  take(at: UploadPosition | undefined): Hold {
    if (at && (at.files !== this.#files || at.bytes !== this.#bytes)) {
      throw stateConflict(
        `upload ${this.id} goes on at ${this.#files}/${this.#bytes}, not at ${at.files}/${at.bytes}`,
      );
    }
    this.#unpark();
    this.#hold = { number: (this.#holds += 1) };
    return this.#hold;
  }

  holds(hold: Hold): boolean {
    return this.#hold === hold;
  }

  drop(): void {
    this.#hold = undefined;
  }

  park(nowMs: number): AbortController {
    this.#unpark();
    this.#hold = undefined;
    this.parkedAt = nowMs;
    this.#turn = new AbortController();
    return this.#turn;
  }

  /** Takes a message; a promise when the caller must wait before the next one. */
  add(hold: Hold, item: PutItem): Promise<void> | undefined {
    this.#need(hold);
    if (this.settledAt !== undefined) return this.#failed();
    if (item.file) {
      this.#files += 1;
      this.#bytes = 0;
      this.path = item.file.path;
    }
    this.#bytes += item.value.length;
    this.#queuedBytes += item.value.length;
    this.#queue.push(item);
    this.#wakeReader?.();
    return this.#full() ? this.#room(hold) : undefined;
  }

  end(hold: Hold): void {
    this.#need(hold);
    this.ended = true;
    this.#wakeReader?.();
  }

  abort(reason: Error): void {
    if (this.settledAt !== undefined) return;
    this.ended = true;
    this.#unpark();
    this.#control.abort(reason);
    this.#wakeReader?.();
  }

  #need(hold: Hold): void {
    if (this.#hold !== hold) throw cancelled('another call goes on with this upload');
  }

  #full(): boolean {
    return this.#queue.length >= QUEUED_ITEMS || this.#queuedBytes >= QUEUED_BYTES;
  }

  async #room(hold: Hold): Promise<void> {
    while (this.#full() && this.settledAt === undefined) {
      await new Promise<void>((resolve) => (this.#wakeFeeder = resolve));
    }
    this.#need(hold);
    if (this.settledAt !== undefined) await this.#failed();
  }

  /** The put ended before its messages did: it failed. */
  async #failed(): Promise<never> {
    await this.result;
    throw cancelled('the upload is over');
  }

  #unpark(): void {
    this.#turn?.abort(cancelledBy('a further call'));
    this.#turn = undefined;
  }

  async *#items(): AsyncGenerator<PutItem> {
    for (;;) {
      this.#control.signal.throwIfAborted();
      const items = this.#queue;
      if (items.length === 0) {
        if (this.ended) return;
        await new Promise<void>((resolve) => (this.#wakeReader = resolve));
        continue;
      }
      this.#queue = [];
      this.#queuedBytes = 0;
      this.#wakeFeeder?.();
      for (const item of items) yield item;
    }
  }
}
