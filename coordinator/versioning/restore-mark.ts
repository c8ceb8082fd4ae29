/**
 * The key that stands while a whole cluster is being restored (coordinator/admin/restore.ts). It bars
 * everything that begins with a new repo, so that nothing is made among the restored records.
 */
import { stateConflict } from '../../core/errors.js';
import type { MetaTxn } from '../meta/index.js';

export const RESTORE_KEY = 'restore';

/** `restore`: a restore is under way or has broken off. */
export interface RestoreMark {
  /** Id of the archive. */
  readonly archive: string;
  /** New with every try. */
  readonly attempt: string;
  /** Wall time in milliseconds. */
  readonly started: number;
}

/** Throws STATE_CONFLICT while a restore is under way; the transaction depends on the answer. */
export async function checkNoRestore(t: Pick<MetaTxn, 'get'>): Promise<void> {
  if (!(await t.get(RESTORE_KEY))) return;
  throw stateConflict(
    'the cluster is being restored from an archive, or that broke off: run the restore again ' +
      "with the same archive, or give it up with 'tusk restore --abort'",
  );
}
