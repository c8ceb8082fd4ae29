/** Requests to start the process of a service anew, with what it has. */
import { cancelledBy, childController } from '../../core/signals.js';
import type { LiveSpec } from '../../queue/messages.js';
import type { RestartRequest } from '../../queue/index.js';
import type { Wait } from '../../storage/types.js';
import { filesOf, haveAll } from '../datum-files.js';

export class Restarts {
  /** What a request cuts short: the process, or the wait for its next start. */
  #now: AbortController | undefined;
  #asked = false;

  /** Whether the request means this process; if so it ends, and `taken` says that once. */
  ask({ job, filters }: RestartRequest, spec: LiveSpec | undefined): boolean {
    if (spec?.kind !== 'service' || !spec.datum || spec.job.job !== job) return false;
    if (!haveAll(filesOf(spec.datum), filters)) return false;
    // On its way up it needs no further start.
    if (!this.#now) return true;
    this.#asked = true;
    this.#now.abort(cancelledBy('a request to restart the datum'));
    return true;
  }

  /** True once after each request. */
  taken(): boolean {
    const asked = this.#asked;
    this.#asked = false;
    return asked;
  }

  /** Runs `work`, whose signal aborts on a request too. */
  async during<T>({ signal }: Wait, work: (wait: Wait) => Promise<T>): Promise<T> {
    using scope = childController(signal);
    this.#now = scope;
    try {
      return await work({ signal: scope.signal });
    } finally {
      this.#now = undefined;
    }
  }
}
