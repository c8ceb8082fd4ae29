/**
 * Fsck: checks that what the records say about each other agrees, and mends what can be mended.
 *
 * F1 The cluster keeps working: keys are listed as they come, but every check reads all it needs as
 *    of one moment, so that a change under way is never taken for damage.
 * F2 A repair checks again and writes in one transaction: it mends what is wrong then, or nothing.
 * F3 Memory does not grow with the number of commits: keys are checked a group at a time.
 * That a provenance entry's commit and branch are of one repo holds by the shape of the record.
 */
import type { Wait } from '../../storage/types.js';
import type { MetaTxn } from '../meta/index.js';
import { checkBranch } from './fsck-branch.js';
import { checkChild, checkCommit, checkOpen, checkSubvenance } from './fsck-commit.js';
import { BRANCHES, CHILDREN, COMMITS, OPENS, SUBVENANCE } from './model.js';
import { Scope, type ScopeDeps } from './scope.js';

/** A disagreement between records. */
export interface Problem {
  readonly text: string;
  /** Mends it within the transaction; answers what it did. Absent: needs a person. */
  readonly repair?: (scope: Scope) => Promise<string> | string;
}

/** Problems of the record under a key; none when it is gone. */
export type Check = (scope: Scope, key: string) => Promise<Problem[]>;

/** A text for the person: a problem, or what was done about one. */
export type Finding = { readonly error: string } | { readonly fix: string };

const PHASES: readonly (readonly [string, Check])[] = [
  [BRANCHES, checkBranch],
  [COMMITS, checkCommit],
  [SUBVENANCE, checkSubvenance],
  [CHILDREN, checkChild],
  [OPENS, checkOpen],
];
const GROUP = 100;
/** Mending one thing can bring another to light. */
const ROUNDS_MAX = 4;

/** Streams what is wrong, as it is found; with `fix`, what was mended and what could not be. */
export async function* fsck(
  deps: ScopeDeps,
  options: { readonly fix: boolean },
  wait: Wait,
): AsyncGenerator<Finding> {
  for (const [prefix, check] of PHASES) {
    for await (const keys of groups(deps, prefix, wait)) {
      for (const [key, problems] of await examine(deps, keys, check, wait)) {
        if (options.fix && problems.some((problem) => problem.repair)) {
          yield* await mend(deps, key, check, wait);
        } else yield* problems.map(({ text }) => ({ error: text }));
      }
    }
  }
}

async function* groups(deps: ScopeDeps, prefix: string, wait: Wait): AsyncGenerator<string[]> {
  let keys: string[] = [];
  for await (const { key } of deps.meta.scan(prefix, { ...wait, keysOnly: true })) {
    keys.push(key);
    if (keys.length < GROUP) continue;
    yield keys;
    keys = [];
  }
  if (keys.length > 0) yield keys;
}

/** Checks keys as of one moment; answers those with problems. */
async function examine(
  deps: ScopeDeps,
  keys: readonly string[],
  check: Check,
  wait: Wait,
): Promise<[string, Problem[]][]> {
  const found = await deps.meta.rehearse(async (t: MetaTxn) => {
    const scope = Scope.of(t, deps);
    return Promise.all(
      keys.map(async (key): Promise<[string, Problem[]]> => [key, await check(scope, key)]),
    );
  }, wait);
  return found.filter(([, problems]) => problems.length > 0);
}

async function mend(deps: ScopeDeps, key: string, check: Check, wait: Wait): Promise<Finding[]> {
  return deps.meta.transact(
    async (t) => {
      const scope = Scope.of(t, deps);
      const done: Finding[] = [];
      for (let round = 1; ; round += 1) {
        const problems = await check(scope, key);
        const mendable = problems.filter(({ repair }) => repair);
        if (mendable.length === 0 || round > ROUNDS_MAX) {
          return [...done, ...problems.map(({ text }) => ({ error: text }))];
        }
        for (const { repair } of mendable) done.push({ fix: (await repair?.(scope)) as string });
      }
    },
    { ...wait, label: `fsck ${key}` },
  );
}
