/** The input tree of a pipeline: walking, defaults, order, names and the branches it reads. */
import type { CronInput, GitInput, Input, PFSInput } from '../../proto/generated/pps.js';
import type { BranchRef, InputCommit } from './model.js';

/** The kinds that hold other inputs, in the order their fields are looked at. */
const COMPOSITES = ['cross', 'join', 'group', 'union'] as const;
export type CompositeKind = (typeof COMPOSITES)[number];
export type InputKind = 'pfs' | 'cron' | 'git' | CompositeKind;

/** The kinds that are set on one Input; exactly one is legal. An empty list reads as not set. */
export function kindsOf(input: Input): InputKind[] {
  const kinds: InputKind[] = [];
  if (input.pfs) kinds.push('pfs');
  for (const kind of COMPOSITES) if (input[kind].length > 0) kinds.push(kind);
  if (input.cron) kinds.push('cron');
  if (input.git) kinds.push('git');
  return kinds;
}

/** The children of a composite, or an empty list. */
export function childrenOf(input: Input): readonly Input[] {
  for (const kind of COMPOSITES) if (input[kind].length > 0) return input[kind];
  return [];
}

/** Every Input of the tree, children before parents, left to right. */
export function* visit(input: Input | undefined): Generator<Input> {
  if (!input) return;
  for (const kind of COMPOSITES) for (const child of input[kind]) yield* visit(child);
  yield input;
}

/** The tree with `change` applied to every node, children first. */
export function mapInput(input: Input, change: (input: Input) => Input): Input {
  const inner = (list: readonly Input[]): Input[] => list.map((child) => mapInput(child, change));
  return change({
    ...input,
    cross: inner(input.cross),
    join: inner(input.join),
    group: inner(input.group),
    union: inner(input.union),
  });
}

/** Name that rules the stored order: a composite has its first child's; cron and git have none. */
export function inputName(input: Input): string {
  if (input.pfs) return input.pfs.name;
  const first = childrenOf(input)[0];
  return first ? inputName(first) : '';
}

/** Sorts the children of every composite by name, innermost first, stable (byte order). */
export function sortInputs(input: Input): Input {
  const sorted = (list: readonly Input[]): Input[] =>
    [...list].sort((a, b) => Buffer.compare(Buffer.from(inputName(a)), Buffer.from(inputName(b))));
  return mapInput(input, (node) => ({
    ...node,
    cross: sorted(node.cross),
    join: sorted(node.join),
    group: sorted(node.group),
    union: sorted(node.union),
  }));
}

/** Fills absent names, branches and repos as the spec says. `nowS` starts cron inputs. */
export function withInputDefaults(pipeline: string, nowS: number, input: Input): Input {
  const triggers = new Map<string, number>();
  const branchOf = (pfs: PFSInput): string => {
    if (pfs.branch !== '') return pfs.branch;
    if (!pfs.trigger) return 'master';
    const n = (triggers.get(pfs.repo) ?? 0) + 1;
    triggers.set(pfs.repo, n);
    return `${pipeline}-trigger-${n}`;
  };
  return mapInput(input, (node) => {
    const { pfs, cron, git } = node;
    return {
      ...node,
      pfs: pfs && {
        ...pfs,
        commit: '',
        name: pfs.name === '' ? pfs.repo : pfs.name,
        branch: branchOf(pfs),
        trigger: pfs.trigger && { ...pfs.trigger, branch: pfs.trigger.branch || 'master' },
      },
      cron: cron && {
        ...cron,
        repo: cron.repo === '' ? `${pipeline}_${cron.name}` : cron.repo,
        start: cron.start ?? { seconds: nowS, nanos: 0 },
      },
      git: git && {
        ...git,
        name: git.name === '' ? gitName(git.url) : git.name,
        branch: git.branch === '' ? 'master' : git.branch,
      },
    };
  });
}

/** Last path element of a clone URL, up to its first dot. */
function gitName(url: string): string {
  return (url.split('/').at(-1) ?? '').split('.')[0] ?? '';
}

/** The branches a pipeline reads, each once, in stored order. */
export function inputBranches(input: Input | undefined): BranchRef[] {
  const found = new Map<string, BranchRef>();
  for (const node of visit(input)) {
    const ref = branchOf(node);
    if (ref) found.set(`${ref.repo}@${ref.branch}`, ref);
  }
  return [...found.values()];
}

function branchOf(node: Input): BranchRef | undefined {
  if (node.pfs) return { repo: node.pfs.repo, branch: node.pfs.branch };
  if (node.cron) return { repo: node.cron.repo, branch: 'master' };
  if (node.git) return { repo: node.git.name, branch: node.git.branch };
  return undefined;
}

/** The cron inputs, each repo once. */
export function cronInputs(input: Input | undefined): CronInput[] {
  const found = new Map<string, CronInput>();
  for (const { cron } of visit(input)) {
    if (cron && !found.has(cron.repo)) found.set(cron.repo, cron);
  }
  return [...found.values()];
}

/** The git inputs, each repo and branch once. */
export function gitInputs(input: Input | undefined): GitInput[] {
  const found = new Map<string, GitInput>();
  for (const { git } of visit(input)) if (git) found.set(`${git.name}@${git.branch}`, git);
  return [...found.values()];
}

/** Every input name, each once, sorted: the directories user code may find under /pfs. */
export function inputNames(input: Input | undefined): string[] {
  const names = new Set<string>();
  for (const node of visit(input)) {
    const name = node.pfs?.name ?? node.cron?.name ?? node.git?.name;
    if (name !== undefined) names.add(name);
  }
  return [...names].sort();
}

/** The input with `commit` filled from a job's input commits; empty where a branch had no head. */
export function withCommits(input: Input, commits: readonly InputCommit[]): Input {
  const ids = new Map(commits.map((ref) => [`${ref.repo}@${ref.branch}`, ref.commit]));
  return mapInput(input, (node) => {
    const ref = branchOf(node);
    if (!ref) return node;
    const commit = ids.get(`${ref.repo}@${ref.branch}`) ?? '';
    return {
      ...node,
      pfs: node.pfs && { ...node.pfs, commit },
      cron: node.cron && { ...node.cron, commit },
      git: node.git && { ...node.git, commit },
    };
  });
}
