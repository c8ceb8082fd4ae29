/**
 * Pushes as data: each is one commit on the input's repo and branch, whose file /commit.json is the
 * payload of the push. A push that is there already is not made again.
 */
import { codeOf } from '../../core/errors.js';
import type { GitInput } from '../../proto/generated/pps.js';
import { held, type Storage } from '../../storage/index.js';
import type { DirNode, Wait } from '../../storage/types.js';
import type { MetaTxn } from '../meta/index.js';
import { OpLog } from '../versioning/files/op-log.js';
import type { CommitRecord, Versioning } from '../versioning/index.js';

export interface PushDeps {
  readonly storage: Storage;
  readonly versioning: Versioning;
}

/** The part of a GitHub push event that matters here. */
export interface Push {
  /** `refs/heads/<branch>` */
  readonly ref: string;
  readonly before?: string;
  /** The commit that the branch is at now; all zeros when it was deleted. */
  readonly after: string;
  readonly repository: { readonly clone_url: string; readonly name?: string };
}

const PUSH_FILE = '/commit.json';
const PUSH_BYTES_MAX = 32 * 1024 * 1024;

/** The commit of the git repo that the newest push brought; undefined before the first. */
export async function pushedHead(
  deps: PushDeps,
  git: GitInput,
  wait: Wait,
): Promise<string | undefined> {
  const head = deps.versioning.branches.get(`br/${git.name}/${git.branch}`)?.head;
  if (head === undefined) return undefined;
  const commit = await deps.versioning.commit({ repo: git.name, id: head }, wait);
  if (commit?.finished === undefined) return undefined;
  return afterIn(deps, await deps.versioning.openTree(commit, wait), wait);
}

async function afterIn(
  deps: PushDeps,
  root: DirNode | undefined,
  wait: Wait,
): Promise<string | undefined> {
  const node = root && (await deps.storage.trees.lookup(root, PUSH_FILE, wait));
  if (node?.type !== 'file' || node.size > PUSH_BYTES_MAX) return undefined;
  const parts: Buffer[] = [];
  for await (const part of deps.storage.read(node, wait)) parts.push(part);
  try {
    const payload = JSON.parse(Buffer.concat(parts).toString()) as Partial<Push> | null;
    return typeof payload?.after === 'string' ? payload.after : undefined;
  } catch {
    // Written by hand: the next push replaces it.
    return undefined;
  }
}

interface PushOptions extends Wait {
  readonly guardIn?: (t: MetaTxn) => void;
}

/** Stores a push; undefined when the newest one brought the same commit already. */
export async function storePush(
  deps: PushDeps,
  git: GitInput,
  payload: Push,
  options: PushOptions,
): Promise<CommitRecord | undefined> {
  return held(deps.storage.epochs, 'writes', () => writePush(deps, git, payload, options));
}

async function writePush(
  deps: PushDeps,
  git: GitInput,
  payload: Push,
  options: PushOptions,
): Promise<CommitRecord | undefined> {
  const wait = { signal: options.signal };
  const writer = deps.storage.newWriter(wait);
  try {
    const content = await writer.writeBytes(Buffer.from(`${JSON.stringify(payload)}\n`));
    const log = new OpLog(deps.storage, writer, wait);
    await log.add({ op: 'set', path: PUSH_FILE, content });
    const runs = await log.end(wait);
    const branch = { repo: git.name, name: git.branch };
    return await deps.versioning.oneShot(branch, runs, {
      ...wait,
      guardIn: async (t, { base }) => {
        options.guardIn?.(t);
        if ((await afterIn(deps, base, wait)) === payload.after) throw new PushIsThere();
      },
    });
  } catch (error) {
    if (error instanceof PushIsThere) return undefined;
    throw error;
  } finally {
    writer.abort();
  }
}

class PushIsThere extends Error {
  override readonly name = 'PushIsThere';
}

/** Whether an error only says that the branch is busy with a commit of somebody else. */
export function isBusy(error: unknown): boolean {
  return codeOf(error) === 'STATE_CONFLICT' || codeOf(error) === 'CONTENTION';
}
