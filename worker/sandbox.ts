/** What the spawner knows of a slot's sandbox, whatever is behind it. */
import type { RunCommand, RunEnd } from './spawner-protocol.js';

export interface Sandbox {
  /**
   * Runs one command and answers when it and everything it started are gone and all they wrote was
   * read. Never rejects; one run at a time.
   */
  run(command: RunCommand): Promise<RunEnd>;
  /** Kills the command in progress with everything it started; its `run` answers soon after. */
  kill(): void;
  close(): void;
  /** The process everything in the sandbox descends from, while there is one. */
  readonly pid: number | undefined;
  /** The sandbox's root directory from outside (`/proc/<pid>/root`), empty when it has none. */
  readonly root: string;
}
