/**
 * Writing: bytes into the store, then one commit that shows them.
 *
 * W1 An upload is stored whole and proven before anything is registered; what breaks off leaves
 *    bytes that nobody refers to.
 * W2 One request makes one commit, or one entry in the log of the commit that is open.
 * W3 What S3 promises and files do not (a key never replaces a directory) is checked in the
 *    transaction that shows the change.
 */
import type { DirNode, Wait } from '../../../storage/types.js';
import type { MetaTxn } from '../../meta/index.js';
import { OpLog, type NewOp } from '../../versioning/files/op-log.js';
import { DEFAULT_BRANCH, needWritable, type Bucket, type GatewayDeps } from './bucket.js';

export interface Change extends Wait {
  readonly bucket: Bucket;
  readonly ops: readonly NewOp[];
  readonly requestId: string;
  /** Runs on the tree that the change applies to; throws to refuse it. May run several times. */
  readonly guard?: (base: DirNode) => Promise<void>;
  /** More that belongs into the same transaction, when a commit is made. */
  readonly alsoIn?: (t: MetaTxn, commit: string) => Promise<void>;
}

export interface Changed {
  /** Id of the commit that holds the change. */
  readonly commit: string;
  /** It is open still: `alsoIn` did not run. */
  readonly open: boolean;
}

/** Makes changes visible. Throws as PutFile does, and what the guard throws. */
export async function applyChange(deps: GatewayDeps, change: Change): Promise<Changed> {
  const { versioning, storage } = deps;
  const { bucket, guard, alsoIn } = change;
  const wait = { signal: change.signal };
  await needWritable(deps, bucket, wait);
  const target = await versioning.writeTarget(
    { repo: bucket.repo, id: bucket.ref },
    { ...wait, ...(bucket.ref === DEFAULT_BRANCH ? {} : { needBranch: 'exists' as const }) },
  );
  const writer = storage.newWriter(wait);
  try {
    const log = new OpLog(storage, writer, wait);
    for (const op of change.ops) {
      const room = log.add(op);
      if (room) await room;
    }
    const runs = await log.end(wait);
    if (target.kind === 'open') {
      await guard?.(await versioning.openTree(target.commit, wait));
      await versioning.registerRuns(target.commit, runs, change.requestId, wait);
      return { commit: target.commit.id, open: true };
    }
    const made = await versioning.oneShot(target.branch, runs, {
      ...wait,
      guardIn: async (t, { id, base }) => {
        await guard?.(base ?? storage.trees.empty);
        await alsoIn?.(t, id);
      },
    });
    return { commit: made.id, open: false };
  } finally {
    writer.abort();
  }
}
