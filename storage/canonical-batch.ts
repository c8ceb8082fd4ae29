/**
 * Concatenations gathered into few packs: all that are asked for before the event loop turns, up
 * to a limit, share one writer, so that 10^5 files with a line appended do not make 10^5 objects.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { TreeStorage } from './tree-types.js';
import type { FileContent, Wait } from './types.js';

const BATCH_FILES = 1024;
const PARALLEL = 16;

interface Job {
  readonly parts: readonly FileContent[];
  readonly resolve: (content: FileContent) => void;
  readonly reject: (error: unknown) => void;
}

export class CanonicalBatch {
  #waiting: Job[] = [];

  constructor(
    readonly storage: TreeStorage,
    readonly wait: Wait,
  ) {}

  /** The canonical concatenation; stored when the answer comes. */
  join(parts: readonly FileContent[]): Promise<FileContent> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ parts, resolve, reject });
      if (this.#waiting.length === 1) void nextTurn().then(() => this.#run());
      else if (this.#waiting.length >= BATCH_FILES) void this.#run();
    });
  }

  async #run(): Promise<void> {
    const jobs = this.#waiting.splice(0);
    if (jobs.length === 0) return;
    const { signal } = this.wait;
    const writer = this.storage.newWriter({ signal });
    try {
      const joined: FileContent[] = [];
      for (let from = 0; from < jobs.length; from += PARALLEL) {
        const slice = jobs.slice(from, from + PARALLEL);
        const done = slice.map(({ parts }) => this.storage.canonical(parts, { signal, writer }));
        joined.push(...(await Promise.all(done)));
      }
      await writer.flush({ signal });
      for (const [index, job] of jobs.entries()) job.resolve(joined[index] as FileContent);
    } catch (error) {
      for (const job of jobs) job.reject(error);
    } finally {
      writer.abort();
    }
  }
}
