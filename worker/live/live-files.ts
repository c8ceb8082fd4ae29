/** What lies in /pfs for the process of a service or spout. */
import { join } from 'node:path';
import { EMPTY_DATUM, type LiveSpec, type WorkDatum } from '../../queue/messages.js';
import { decodeNode, encodeNode, type Storage } from '../../storage/index.js';
import type { Wait } from '../../storage/types.js';
import type { Mount } from '../spawner-protocol.js';
import type { SlotFiles } from '../slot-files.js';
import { TaskInputs } from '../task-inputs.js';
import { clientFiles } from './client-files.js';
import type { LiveBox } from './live-box.js';
import type { LiveDeps } from './live-run.js';
import { makePipe } from './spout-pipe.js';

interface Where {
  readonly deps: Pick<LiveDeps, 'trees' | 'cache' | 'clones' | 'link'>;
  readonly storage: Storage;
  readonly spec: LiveSpec;
  readonly files: SlotFiles;
}

export interface LivePlace {
  /** Whether /pfs/out is a pipe. */
  readonly pipe: boolean;
  readonly mounts: readonly Mount[];
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Puts everything where user code looks for it. `marker` is the encoded directory of the branch
 * `marker`; empty = none.
 */
export async function fillLive(
  where: Where,
  box: LiveBox,
  marker: Buffer,
  wait: Wait,
): Promise<LivePlace> {
  const { deps, spec, files } = where;
  await files.setOwner(box.user);
  const pipe = spec.spout !== undefined;
  if (pipe) await makePipe(join(files.pfs, 'out'));
  await place(where, { ...(spec.datum ?? EMPTY_DATUM) }, wait);
  await clone(where, wait);
  if (marker.length > 0) await placeMarker(where, marker, wait);
  const client = pipe
    ? clientFiles(join(files.dir, 'pachctl'), deps.link.address())
    : { mounts: [], env: {} };
  return { pipe, ...client };
}

/** /pfs/<name> of a git input is a clone. */
async function clone({ deps, spec, files }: Where, wait: Wait): Promise<void> {
  for (const { name } of spec.datum?.inputs ?? []) {
    const git = spec.job.git?.[name];
    if (git) await deps.clones.place(git, files.takeTree(name), wait);
  }
}

async function place({ deps, storage, files }: Where, datum: WorkDatum, wait: Wait): Promise<void> {
  const { trees, cache } = deps;
  const inputs = new TaskInputs({ storage, trees, cache }, [datum], wait);
  try {
    await inputs.place(0, files);
  } finally {
    await inputs.close();
  }
}

/** The files of the branch `marker` lie directly in /pfs. */
async function placeMarker(where: Where, root: Buffer, wait: Wait): Promise<void> {
  const dir = decodeNode(root);
  if (dir.type !== 'dir') return;
  const repo = where.spec.job.pipeline;
  for await (const { path, node } of where.deps.trees.walk(dir, '', wait)) {
    if (path === '' || path.lastIndexOf('/') !== 0) continue;
    const at = { repo, branch: 'marker', commit: '', path: '/' };
    const input = { ...at, name: path.slice(1), node: encodeNode(node).toString('base64') };
    await place(where, { ...EMPTY_DATUM, inputs: [input] }, wait);
  }
}
