/**
 * Ticks as data: each is one commit on `<cron repo>@master` with one empty file named by its time.
 * When the next one is due follows from the files alone, so whoever asks comes to the same answer.
 */
import { parseCron } from '../../core/cron.js';
import { stateConflict } from '../../core/errors.js';
import type { CronInput } from '../../proto/generated/pps.js';
import { EMPTY_CONTENT, held, type Storage } from '../../storage/index.js';
import type { DirNode, Wait } from '../../storage/types.js';
import type { MetaTxn } from '../meta/index.js';
import { OpLog } from '../versioning/files/op-log.js';
import type { CommitRecord, Versioning } from '../versioning/index.js';

export interface TickDeps {
  readonly storage: Storage;
  readonly versioning: Versioning;
}

/** The branch of a cron repo that ticks are made on. */
export const TICK_BRANCH = 'master';

const TICK_NAME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

/** A time as ticks are named: RFC 3339 in UTC, whole seconds. */
export function tickName(ms: number): string {
  return new Date(Math.floor(ms / 1000) * 1000).toISOString().replace('.000Z', 'Z');
}

/** The time in a tick's name; undefined for other files. */
export function tickTime(name: string): number | undefined {
  const ms = TICK_NAME.test(name) ? Date.parse(name) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

/** Remembers the last tick of a tree, so that a long history is read once and not at every tick. */
export class LastTick {
  #hash: string | undefined;
  #ms: number | undefined;

  constructor(readonly deps: Pick<TickDeps, 'storage'>) {}

  /** Time of the lexicographically last tick in the tree; undefined when it has none. */
  async of(root: DirNode | undefined, wait: Wait): Promise<number | undefined> {
    if (!root) return undefined;
    const hash = root.hash.toString('hex');
    if (hash === this.#hash) return this.#ms;
    const { trees } = this.deps.storage;
    const known = this.#ms === undefined ? undefined : tickName(this.#ms);
    const stays = known !== undefined && (await trees.lookup(root, `/${known}`, wait));
    let last = stays ? this.#ms : undefined;
    const after = stays ? { after: known } : {};
    for await (const { name, node } of trees.list(root, '', { ...wait, ...after })) {
      if (node.type === 'file') last = tickTime(name) ?? last;
    }
    this.#hash = hash;
    this.#ms = last;
    return last;
  }
}

/** When the tick after `last` (or after the start) is due; undefined when the spec has no more. */
export function dueAfter(cron: CronInput, lastMs: number | undefined): number | undefined {
  const start = cron.start ?? { seconds: 0, nanos: 0 };
  return parseCron(cron.spec).next(lastMs ?? start.seconds * 1000 + start.nanos / 1e6);
}

/** The tree of the newest tick; undefined when there is none yet. */
export async function tickTree(
  deps: TickDeps,
  repo: string,
  wait: Wait,
): Promise<DirNode | undefined> {
  const head = deps.versioning.branches.get(`br/${repo}/${TICK_BRANCH}`)?.head;
  const commit =
    head === undefined ? undefined : await deps.versioning.commit({ repo, id: head }, wait);
  return commit && deps.versioning.openTree(commit, wait);
}

export interface TickOptions extends Wait {
  /** Part of the transaction: sees the tree that the tick goes on top of, throws to refuse it. */
  readonly guardIn?: (t: MetaTxn, base: DirNode | undefined) => Promise<void>;
}

/**
 * Makes one tick. With `overwrite` its file is the only one left. Throws STATE_CONFLICT while
 * somebody has an open commit on the branch.
 */
export async function makeTick(
  deps: TickDeps,
  cron: CronInput,
  ms: number,
  options: TickOptions,
): Promise<CommitRecord> {
  return held(deps.storage.epochs, 'writes', () => writeTick(deps, cron, ms, options));
}

async function writeTick(
  deps: TickDeps,
  cron: CronInput,
  ms: number,
  options: TickOptions,
): Promise<CommitRecord> {
  const wait = { signal: options.signal };
  const writer = deps.storage.newWriter(wait);
  try {
    const log = new OpLog(deps.storage, writer, wait);
    if (cron.overwrite) await log.add({ op: 'delete', path: '' });
    await log.add({ op: 'set', path: `/${tickName(ms)}`, content: EMPTY_CONTENT });
    const runs = await log.end(wait);
    const branch = { repo: cron.repo, name: TICK_BRANCH };
    return await deps.versioning.oneShot(branch, runs, {
      ...wait,
      guardIn: async (t, { base }) => options.guardIn?.(t, base),
    });
  } finally {
    writer.abort();
  }
}

/** Somebody else made the tick meanwhile: nothing to do, nothing is wrong. */
export class TickIsThere extends Error {
  override readonly name = 'TickIsThere';
}

/** What a pipeline without a clock answers. */
export function noCron(): Error {
  return stateConflict('pipeline must have a cron input');
}
