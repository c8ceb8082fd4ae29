/** Checks of one commit, and of the keys that link commits: downstream, children, open. */
import type { Problem } from './fsck.js';
import {
  childKey,
  commitKey,
  openKey,
  subvenanceKey,
  subvenancePrefix,
  type CommitName,
  type CommitRecord,
  type OpenRecord,
  type ProvenanceEntry,
} from './model.js';
import type { Scope } from './scope.js';

/** A commit that something refers to and that is not there; mended by a placeholder. */
export function missingCommit(
  name: CommitName,
  of: { readonly where: string; readonly referrer: string },
): Problem {
  return {
    text:
      `consistency error: the commit ${name.id} in repo ${name.repo} could not be found ` +
      `while checking ${of.where}`,
    repair: async (scope) => {
      if (!(await read(scope, name))) scope.putCommit(placeholder(name));
      return (
        `creating commit ${name.repo}@${name.id} which was missing, ` +
        `but referenced by ${of.referrer}`
      );
    },
  };
}

/** Stands in for a lost commit: finished, without content, at no time. */
function placeholder({ repo, id }: CommitName): CommitRecord {
  return {
    ...{ repo, id, origin: 'FSCK', provenance: [] },
    ...{ started: 0, finished: 0, kind: 'empty', size: 0, files: 0 },
  };
}

export async function checkCommit(scope: Scope, key: string): Promise<Problem[]> {
  const commit = await scope.t.getJson<CommitRecord>(key);
  if (!commit) return [];
  const parent = commit.parent === undefined ? [] : [{ repo: commit.repo, id: commit.parent }];
  const [ups, parents, open, child] = await Promise.all([
    Promise.all(commit.provenance.map((entry) => read(scope, entry))),
    Promise.all(parent.map((name) => read(scope, name))),
    scope.t.get(openKey(commit)),
    commit.parent === undefined
      ? undefined
      : scope.t.get(childKey(commit.repo, commit.parent, commit.id)),
  ]);
  const problems: Problem[] = [];
  const referrer = text(commit);
  commit.provenance.forEach((entry, i) => {
    if (ups[i]) return;
    problems.push(missingCommit(entry, { where: `the provenance of ${referrer}`, referrer }));
  });
  for (const name of parent) {
    if (parents[0]) continue;
    problems.push(missingCommit(name, { where: `the parent of ${referrer}`, referrer }));
  }
  if (parents[0] && !child) problems.push(missingChild(commit, parents[0]));
  if (commit.finished === undefined && !open) problems.push(missingOpen(commit));
  const known = ups.filter((up): up is CommitRecord => up !== undefined);
  problems.push(...checkTransitive(commit, known), ...(await checkLinks(scope, commit, known)));
  return problems;
}

/** Everything upstream of an upstream commit is upstream, unless another one of its branch is. */
function checkTransitive(commit: CommitRecord, ups: readonly CommitRecord[]): Problem[] {
  const has = (entry: ProvenanceEntry): boolean =>
    commit.provenance.some(
      (own) => own.repo === entry.repo && (own.id === entry.id || own.branch === entry.branch),
    );
  const lost = new Map<string, ProvenanceEntry>();
  for (const entry of ups.flatMap((up) => up.provenance)) {
    if (!has(entry)) lost.set(commitKey(entry), entry);
  }
  if (lost.size === 0) return [];
  return [
    {
      text:
        'consistency error: commit provenance was not transitive\n' +
        `on commit ${commit.id} in repo ${commit.repo}\n` +
        `missing from its provenance: ${[...lost.values()].map(text).join(' ')}`,
    },
  ];
}

/** Each upstream commit must lead here, directly or over others. */
async function checkLinks(
  scope: Scope,
  commit: CommitRecord,
  ups: readonly CommitRecord[],
): Promise<Problem[]> {
  const further = new Set(ups.flatMap((up) => up.provenance.map(commitKey)));
  const nearest = ups.filter((up) => !further.has(commitKey(up)));
  const links = await Promise.all(nearest.map((up) => scope.t.get(subvenanceKey(up, commit))));
  const loose = nearest.filter((_up, i) => !links[i]);
  const problems: Problem[] = [];
  for (const up of loose) {
    if (await leadsTo(scope, up, commit)) continue;
    problems.push({
      text:
        "consistency error: the commit was not in its provenance's subvenance\n" +
        `commit ${commit.id} in repo ${commit.repo}\n` +
        `provenance commit ${up.id} in repo ${up.repo}`,
      repair: (writing) => {
        writing.t.put(subvenanceKey(up, commit), '');
        return `adding ${commit.id} to subvenance of ${up.id}`;
      },
    });
  }
  return problems;
}

/** Whether links lead from one commit to another over commits of its provenance, even lost ones. */
async function leadsTo(scope: Scope, from: CommitName, to: CommitRecord): Promise<boolean> {
  const members = new Set([to, ...to.provenance].map(commitKey));
  const seen = new Set<string>();
  const queue: CommitName[] = [from];
  for (let next = queue.pop(); next; next = queue.pop()) {
    for (const key of await scope.t.keys(subvenancePrefix(next))) {
      const { down } = linkOf(key);
      const name = commitKey(down);
      if (name === commitKey(to)) return true;
      if (!members.has(name) || seen.has(name)) continue;
      seen.add(name);
      queue.push(down);
    }
  }
  return false;
}

function missingChild(commit: CommitRecord, parent: CommitRecord): Problem {
  return {
    text:
      "consistency error: the commit was not in its parent's children\n" +
      `commit ${commit.id} in repo ${commit.repo}\nparent commit ${parent.id}`,
    repair: ({ t }) => {
      t.put(childKey(commit.repo, parent.id, commit.id), '');
      return `adding ${commit.id} to children of ${parent.id}`;
    },
  };
}

function missingOpen(commit: CommitRecord): Problem {
  return {
    text:
      `consistency error: the commit ${commit.id} in repo ${commit.repo} is not finished, ` +
      'but is not among the open commits',
    repair: ({ t }) => {
      const { repo, id, branch, provenance } = commit;
      const open: OpenRecord = {
        repo,
        id,
        ...(branch === undefined ? {} : { branch }),
        provenance,
      };
      t.putJson(openKey(commit), open);
      return `adding ${text(commit)} to the open commits`;
    },
  };
}

/** `sv/<up>/<down>`: a link to a commit that is gone is harmless, one to a stranger is not. */
export async function checkSubvenance(scope: Scope, key: string): Promise<Problem[]> {
  const { up, down } = linkOf(key);
  const [link, record] = await Promise.all([scope.t.get(key), read(scope, down)]);
  const known = record?.provenance.some((entry) => entry.id === up.id && entry.repo === up.repo);
  // A placeholder does not know what it was made from; the link does.
  if (!link || !record || known || record.origin === 'FSCK') return [];
  return [
    {
      text:
        "consistency error: the commit was not in its subvenance's provenance\n" +
        `commit ${up.id} in repo ${up.repo}\n` +
        `subvenance commit ${down.id} in repo ${down.repo}`,
      // What a commit was made from never changes, so it is the link that is wrong.
      repair: ({ t }) => {
        t.delete(key);
        return `removing ${down.id} from subvenance of ${up.id}`;
      },
    },
  ];
}

/** `ch/<repo>/<parent>/<child>` */
export async function checkChild(scope: Scope, key: string): Promise<Problem[]> {
  const [, repo, parent, id] = key.split('/') as [string, string, string, string];
  const [link, child] = await Promise.all([scope.t.get(key), read(scope, { repo, id })]);
  if (!link || child?.parent === parent) return [];
  return [
    {
      text: child
        ? `consistency error: the commit ${id} in repo ${repo} is listed as a child of ` +
          `${parent}, which is not its parent`
        : `consistency error: the commit ${id} in repo ${repo} could not be found ` +
          `while checking the children of ${text({ repo, id: parent })}`,
      repair: ({ t }) => {
        t.delete(key);
        return `removing ${id} from children of ${parent}`;
      },
    },
  ];
}

/** `open/<repo>/<id>` */
export async function checkOpen(scope: Scope, key: string): Promise<Problem[]> {
  const [, repo, id] = key.split('/') as [string, string, string];
  const [open, commit] = await Promise.all([scope.t.get(key), read(scope, { repo, id })]);
  if (!open || (commit && commit.finished === undefined)) return [];
  return [
    {
      text: commit
        ? `consistency error: the commit ${id} in repo ${repo} is finished, ` +
          'but is among the open commits'
        : `consistency error: the commit ${id} in repo ${repo} could not be found ` +
          'while checking the open commits',
      repair: ({ t }) => {
        t.delete(key);
        return `removing ${text({ repo, id })} from the open commits`;
      },
    },
  ];
}

/** Past the cache: the check is about what is really there. */
async function read(scope: Scope, name: CommitName): Promise<CommitRecord | undefined> {
  return scope.t.getJson<CommitRecord>(commitKey(name));
}

/** `sv/<repo>/<id>/<repo>/<id>` */
function linkOf(key: string): { readonly up: CommitName; readonly down: CommitName } {
  const [, upRepo, upId, repo, id] = key.split('/') as [string, string, string, string, string];
  return { up: { repo: upRepo, id: upId }, down: { repo, id } };
}

function text({ repo, id }: CommitName): string {
  return `${repo}@${id}`;
}
