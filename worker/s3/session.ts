/**
 * What user code sees through S3 while a datum runs: its inputs as read-only buckets, and with
 * `s3_out` the bucket `out`. Nothing is copied to this machine.
 *
 * E1 After `end` nothing is served or taken any more; what was being taken is dropped.
 * E2 A store that fails ends the run through `failed`: the datum is not to blame. Nor is it when
 *    user code gave up on a request before the store did (`checkStore`).
 */
import type { Clock } from '../../core/clock.js';
import { cancelled, codeOf, unavailable, type ErrorCode } from '../../core/errors.js';
import { newUuid } from '../../core/ids.js';
import { Semaphore } from '../../core/semaphore.js';
import type { Exchange } from '../../http/http-server.js';
import { readTarget } from '../../http/s3/request.js';
import type { WorkDatum } from '../../queue/messages.js';
import { decodeNode, type ContentWriter, type Storage } from '../../storage/index.js';
import type { DirNode, RunOp, Wait } from '../../storage/types.js';
import type { FilePlace } from '../../storage/unreadable.js';
import { bucketOperation } from './buckets.js';
import { OUT, OutBucket } from './out-bucket.js';
import { Uploads } from './uploads.js';

export interface SessionDeps {
  readonly clock: Clock;
  readonly storage: Storage;
  /** For outputs of the task; flushed before its result is published. */
  readonly writer: () => ContentWriter;
}

/** Uploads at once, each of which may hold a chunk of 16 MiB. */
const UPLOADS_MAX = 8;

/** A request that takes longer than this waits for the store. */
const SLOW_MS = 1_000;
const CHECK_MS = 2_000;

/** No object has this name: its absence is an answer. */
const PROBE = 'probe';

const WEATHER = new Set<ErrorCode>(['UNAVAILABLE', 'OVERLOADED', 'DEADLINE', 'NO_SPACE']);

export class S3Session {
  /** Inputs by bucket. */
  readonly inputs: ReadonlyMap<string, DirNode>;
  readonly out: OutBucket | undefined;
  readonly uploads = new Uploads();
  readonly uploading = new Semaphore(UPLOADS_MAX);
  readonly startMs: number;
  readonly #ended = new AbortController();
  readonly #failed = new AbortController();
  readonly #serving = new Set<Promise<void>>();
  #bytes = 0;
  #abandoned = false;

  constructor(
    readonly deps: SessionDeps,
    readonly datum: WorkDatum,
    s3Out: boolean,
  ) {
    this.inputs = new Map(
      datum.inputs.flatMap(({ name, node, s3 }) => {
        const root = s3 ? decodeNode(Buffer.from(node, 'base64')) : undefined;
        return root?.type === 'dir' ? [[name, root] as const] : [];
      }),
    );
    this.out = s3Out ? new OutBucket() : undefined;
    this.startMs = deps.clock.wallMs();
  }

  /** Bytes of inputs that were read. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Aborts with the reason when the store failed. */
  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  /** Reads bytes of an input; they count. */
  get reader(): Pick<Storage, 'read'> {
    return {
      read: (content, options) => {
        this.#bytes += options.length ?? content.size;
        return this.deps.storage.read(content, options);
      },
    };
  }

  /** What an object of an input is in its repo. */
  placeOf(bucket: string, key: string): FilePlace {
    const input = this.datum.inputs.find(({ name, s3 }) => s3 && name === bucket);
    return { repo: input?.repo ?? bucket, commit: input?.commit ?? '', path: `/${key}` };
  }

  /** Buckets in order of their names. */
  buckets(): string[] {
    return [...this.inputs.keys(), ...(this.out ? [OUT] : [])].sort();
  }

  newUploadId(): string {
    return newUuid().replaceAll('-', '');
  }

  /** Answers a request. UNAVAILABLE once the session has ended. */
  async handle(exchange: Exchange): Promise<void> {
    if (this.#ended.signal.aborted) throw unavailable('the datum has ended');
    const signal = AbortSignal.any([exchange.signal, this.#ended.signal]);
    const serving = this.#serve({
      ...exchange,
      signal,
      get expectsContinue() {
        return exchange.expectsContinue;
      },
      set expectsContinue(value) {
        exchange.expectsContinue = value;
      },
    });
    this.#serving.add(serving);
    await serving.finally(() => this.#serving.delete(serving));
  }

  /** The objects in `out`, as changes with this seq. */
  collected(seq: number): { ops: RunOp[]; hasMkdir: boolean; bytes: number } {
    return this.out?.ops(seq) ?? { ops: [], hasMkdir: false, bytes: 0 };
  }

  /** Stops serving (E1). */
  async end(): Promise<void> {
    if (!this.#ended.signal.aborted) this.#ended.abort(cancelled('the datum has ended'));
    await Promise.allSettled(this.#serving);
  }

  /** Notes what a request failed with (E2). */
  blame(error: unknown): void {
    if (WEATHER.has(codeOf(error))) this.#failed.abort(error);
  }

  /**
   * For user code that failed: throws UNAVAILABLE when it left a request that waited for the store,
   * and the store does not answer now either (E2).
   */
  async checkStore({ signal }: Wait): Promise<void> {
    if (!this.#abandoned) return;
    const late = AbortSignal.timeout(CHECK_MS);
    try {
      await this.deps.storage.objects.head(PROBE, { signal: AbortSignal.any([signal, late]) });
    } catch (error) {
      signal.throwIfAborted();
      const cause = late.aborted ? undefined : error;
      throw unavailable('the object store does not answer, and user code gave up on it', { cause });
    }
  }

  async #serve(exchange: Exchange): Promise<void> {
    exchange.signal.throwIfAborted();
    const { clock } = this.deps;
    const start = clock.monotonicMs();
    try {
      const target = readTarget(exchange, clock.wallMs());
      await bucketOperation(this, target);
    } catch (error) {
      if (!exchange.signal.aborted) this.blame(error);
      else if (clock.monotonicMs() - start > SLOW_MS) this.#abandoned = true;
      throw error;
    }
  }
}
