/** Checks the object store as of one revision of the metadata, in a thread, beside everything else. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../core/clock.js';
import { BoundedQueue } from '../../core/bounded-queue.js';
import { childController } from '../../core/signals.js';
import type { Storage } from '../../storage/index.js';
import { holdObjects } from '../admin/extract.js';
import type { Meta } from '../meta/index.js';
import { checkInThread, type ThreadSetup } from './mark-and-sweep.js';
import { RootFile } from './root-file.js';

interface Wait {
  readonly signal: AbortSignal;
}

export interface ObjectCheckDeps {
  readonly meta: Meta;
  readonly storage: Storage;
  readonly clock: Clock;
  /** How the thread opens the store; absent: no thread. */
  readonly setup?: ThreadSetup;
  readonly tempDir?: string;
}

const LEASE_MS = 30_000;
/** Above what one check tells. */
const QUEUED_MAX = 20_000;

/**
 * Streams what is wrong, with the files and records that are hurt. `data`: every object is read and
 * hashed, otherwise it only has to be there. No garbage collection begins meanwhile.
 */
export async function* checkStored(
  deps: ObjectCheckDeps,
  options: { readonly data: boolean },
  wait: Wait,
): AsyncGenerator<string> {
  const directory = await mkdtemp(join(deps.tempDir ?? tmpdir(), 'tusk-fsck-'));
  using scope = childController(wait.signal);
  try {
    await using lease = await deps.meta.lease(LEASE_MS, wait);
    const signal = AbortSignal.any([scope.signal, lease.lost]);
    const revision = await holdObjects(deps, { lease, what: 'fsck' }, { signal });
    const recordFile = join(directory, 'records');
    await writeRecords(deps.meta, recordFile, revision, { signal });
    const findings = new BoundedQueue<string>({ items: QUEUED_MAX });
    const running = checkInThread(
      deps,
      { recordFile, directory, data: options.data },
      { signal, onFinding: (text) => void findings.push(text, { signal }).catch(() => undefined) },
    ).then(
      () => findings.end(),
      (error: unknown) => findings.fail(error),
    );
    try {
      yield* findings;
    } finally {
      scope.abort();
      await running;
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Keys and values by turns. */
async function writeRecords(meta: Meta, path: string, revision: number, wait: Wait): Promise<void> {
  await using file = await RootFile.create(path);
  for await (const kv of meta.scan('', { signal: wait.signal, revision })) {
    if (kv.value.length === 0) continue;
    await file.add(Buffer.from(kv.key));
    await file.add(kv.value);
  }
  await file.flush();
}
