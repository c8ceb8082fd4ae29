/** S3 of one datum, over its tries: each begins with an empty `out`. */
import { invariant } from '../../core/errors.js';
import type { RunOp, Wait } from '../../storage/types.js';
import type { S3Endpoint } from './endpoint.js';
import type { S3Session } from './session.js';

export class DatumS3 {
  #session: S3Session | undefined;
  #bytes = 0;

  constructor(
    readonly endpoint: Pick<S3Endpoint, 'url' | 'serve'>,
    readonly newSession: () => S3Session,
  ) {}

  get env(): Record<string, string> {
    return { S3_ENDPOINT: this.endpoint.url };
  }

  /** Bytes of inputs that were read in all tries. */
  get bytes(): number {
    return this.#bytes + (this.#session?.bytes ?? 0);
  }

  /** Aborts when the store failed: the process is to be ended, and the task tried elsewhere. */
  get failed(): AbortSignal {
    return this.#now.failed;
  }

  /** For user code that failed: UNAVAILABLE when the store is to blame. */
  async checkStore(wait: Wait): Promise<void> {
    await this.#now.checkStore(wait);
  }

  /** A new try. What an earlier one wrote is forgotten. */
  async begin(): Promise<void> {
    await this.end();
    this.#bytes = this.bytes;
    this.#session = this.newSession();
    this.endpoint.serve(this.#session);
  }

  /** Objects that the try wrote, once it has ended. */
  collected(seq: number): { ops: RunOp[]; hasMkdir: boolean; bytes: number } {
    return this.#now.collected(seq);
  }

  /** Nothing is served or taken any more. */
  async end(): Promise<void> {
    await this.#session?.end();
  }

  get #now(): S3Session {
    invariant(this.#session, 'a try has begun');
    return this.#session;
  }
}
