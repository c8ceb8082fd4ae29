/**
 * Egress: every file of a job's output is copied to a URL before the job counts as done.
 *
 * E1 Copying again is harmless: each file replaces what is there, nothing is deleted.
 * E2 Files are copied in order, several at once; the job's record says up to where all are there,
 *    so another owner goes on from that file.
 * E3 Four tries in a row without a step forward end the job; trouble of our own store does not
 *    count, the job is then tried again.
 */
import type { Clock } from '../../core/clock.js';
import { codeOf, messageOf } from '../../core/errors.js';
import { backoffMs } from '../../core/retry.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import { orderedAhead, type ReadRange, type Storage } from '../../storage/index.js';
import type { DirNode, FileNode, Wait } from '../../storage/types.js';
import type { Meta } from '../meta/index.js';
import {
  jobKey,
  setJobStateIn,
  type EgressProgress,
  type JobPointer,
  type JobRecord,
} from '../pipelines/model.js';
import { JobFailed } from '../scheduling/job-watch.js';
import { openDestination, type Destination } from './destination.js';

export interface EgressDeps {
  readonly meta: Meta;
  readonly storage: Storage;
  readonly clock: Clock;
  /** The directory that local:// URLs mean; none: they are refused. */
  readonly localTargets: string | undefined;
  /** First delay between tries, 1 s. */
  readonly baseDelayMs?: number;
}

/** An output and the job that it belongs to. */
export interface Outgoing {
  readonly info: PipelineInfo;
  readonly job: JobRecord;
  readonly root: DirNode;
  /** Writes a line of the job's master log. */
  readonly say: (message: string) => void;
}

const TRIES = 4;
const FILES_PARALLEL = 16;
const BYTES_AHEAD = 64 * 1024 * 1024;
/** A large file holds this much in flight, however large it is. */
const FILE_BYTES_MAX = 32 * 1024 * 1024;
const PROGRESS_MS = 2_000;
const DELAY_MS_MAX = 10_000;
const REASON_CHARS_MAX = 1_000;
/** A longer path is not noted: the record of a job stays small. */
const PATH_CHARS_MAX = 1_000;

/** Whether a pipeline wants its outputs copied somewhere. */
export function egressWanted(info: PipelineInfo): boolean {
  return (info.egress?.URL ?? '') !== '';
}

/**
 * Copies the output of a job. Throws JobFailed (`egress error: …`) when it can not be done, other
 * errors when it is to be tried again later.
 */
export async function runEgress(deps: EgressDeps, out: Outgoing, wait: Wait): Promise<void> {
  await new EgressRun(deps, out).run(wait);
}

class EgressRun {
  #done: EgressProgress;
  #notedMs: number;

  constructor(
    readonly deps: EgressDeps,
    readonly out: Outgoing,
  ) {
    this.#done = out.job.egress ?? { after: '', files: 0, bytes: 0 };
    this.#notedMs = deps.clock.monotonicMs();
  }

  get #url(): string {
    return this.out.info.egress?.URL ?? '';
  }

  async run(wait: Wait): Promise<void> {
    const { clock, baseDelayMs = 1_000 } = this.deps;
    const { say, root } = this.out;
    say(`egress of ${root.files} files to ${this.#url}`);
    for (let tries = 1; ; tries += 1) {
      const before = this.#done.files;
      try {
        await this.#try(wait);
        say(`egress finished: ${this.#done.files} files, ${this.#done.bytes} bytes`);
        return;
      } catch (error) {
        wait.signal.throwIfAborted();
        if (error instanceof OwnTrouble) throw error.cause;
        if (this.#done.files > before) tries = 1;
        const reason = `egress error: ${messageOf(error)}`.slice(0, REASON_CHARS_MAX);
        if (tries >= TRIES || codeOf(error) === 'INVALID_INPUT') throw new JobFailed(reason, error);
        say(`${reason}; trying again`);
        await this.#note(`${reason}; trying again (${this.#progress()})`, wait);
        const limits = { baseDelayMs: baseDelayMs * 2, maxDelayMs: DELAY_MS_MAX };
        await clock.sleep(baseDelayMs / 2 + backoffMs(tries, limits), wait);
      }
    }
  }

  async #try(wait: Wait): Promise<void> {
    const { storage, localTargets } = this.deps;
    using to = await openDestination({ sources: storage.sources, localTargets }, this.#url);
    const limits = { parallel: FILES_PARALLEL, bytes: BYTES_AHEAD, signal: wait.signal };
    for await (const { path, node } of orderedAhead(this.#jobs(to, wait), limits)) {
      const { files, bytes, after } = this.#done;
      const noted = path.length <= PATH_CHARS_MAX ? path : after;
      this.#done = { after: noted, files: files + 1, bytes: bytes + node.size };
      if (this.deps.clock.monotonicMs() - this.#notedMs < PROGRESS_MS) continue;
      await this.#note(`egress: ${this.#progress()}`, wait);
    }
  }

  async *#jobs(
    to: Destination,
    wait: Wait,
  ): AsyncGenerator<{
    bytes: number;
    run: (signal: AbortSignal) => Promise<{ path: string; node: FileNode }>;
  }> {
    const { after } = this.#done;
    // Walks in the order of the tree, so everything up to `after` was copied before.
    let known = after !== '';
    for await (const { path, node } of this.#walk(wait)) {
      if (node.type !== 'file') continue;
      if (known) {
        known = path !== after;
        continue;
      }
      yield {
        bytes: Math.min(node.size, FILE_BYTES_MAX),
        run: async (signal) => {
          await to.put(path, node.size, this.#reader(node), { signal });
          return { path, node };
        },
      };
    }
  }

  async *#walk(wait: Wait): ReturnType<Storage['trees']['walk']> {
    try {
      yield* this.deps.storage.trees.walk(this.out.root, '', wait);
    } catch (error) {
      throw new OwnTrouble(error);
    }
  }

  #reader(node: FileNode): ReadRange {
    return async (offset, length, wait) => {
      if (length === 0) return Buffer.alloc(0);
      try {
        const parts: Buffer[] = [];
        const range = { signal: wait.signal, offset, length };
        for await (const part of this.deps.storage.read(node, range)) parts.push(part);
        return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts);
      } catch (error) {
        throw new OwnTrouble(error);
      }
    };
  }

  #progress(): string {
    return `${this.#done.files} of ${this.out.root.files} files copied`;
  }

  /** Shows how far it is, and where another owner may go on. */
  async #note(reason: string, wait: Wait): Promise<void> {
    const { meta, clock } = this.deps;
    this.#notedMs = clock.monotonicMs();
    const { pipeline, id } = this.out.job;
    const at: JobPointer = { pipeline, job: id };
    await meta.transact(
      async (t) => {
        const current = await t.getJson<JobRecord>(jobKey(pipeline, id));
        // A former owner that lags behind must not put the mark back.
        if (current?.state !== 'EGRESSING') return;
        if ((current.egress?.files ?? 0) > this.#done.files) return;
        const patch = { egress: this.#done };
        await setJobStateIn(t, at, { state: 'EGRESSING', reason, nowMs: clock.wallMs(), patch });
      },
      { ...wait, label: `egress of ${pipeline}` },
    );
  }
}

/** Something of ours can not be read at the moment: no fault of the egress. */
class OwnTrouble extends Error {
  override readonly name = 'OwnTrouble';
  constructor(override readonly cause: unknown) {
    super(messageOf(cause), { cause });
  }
}
