/**
 * What lies downstream of a commit, found by walking `sv/` keys. A commit is linked only to its
 * nearest upstream commits; names of commits that no longer exist are walked through but not
 * answered.
 */
import type { Log } from '../../core/log.js';
import type { Wait } from '../../storage/types.js';
import type { Meta } from '../meta/index.js';
import {
  commitKey,
  commitsPrefix,
  subvenanceKey,
  subvenancePrefix,
  type CommitName,
  type CommitRecord,
} from './model.js';

/** A run of downstream commits on one line of parents. */
export interface CommitRange {
  readonly lower: CommitRecord;
  readonly upper: CommitRecord;
}

const PARALLEL = 32;

/** Names of everything downstream, each once; some may name commits that are gone. */
export async function downstreamNames(
  list: (prefix: string) => Promise<readonly string[]>,
  start: CommitName,
): Promise<CommitName[]> {
  const found = new Map<string, CommitName>();
  let frontier: CommitName[] = [start];
  while (frontier.length > 0) {
    const next: CommitName[] = [];
    for (let at = 0; at < frontier.length; at += PARALLEL) {
      const keys = await Promise.all(
        frontier.slice(at, at + PARALLEL).map((name) => list(subvenancePrefix(name))),
      );
      for (const name of keys.flat().map(nameOfKey)) {
        if (found.has(commitKey(name))) continue;
        found.set(commitKey(name), name);
        next.push(name);
      }
    }
    frontier = next;
  }
  found.delete(commitKey(start));
  return [...found.values()];
}

/** Keys under a prefix, outside any transaction. */
export function listKeys(meta: Meta, wait: Wait): (prefix: string) => Promise<string[]> {
  return async (prefix) => {
    const keys: string[] = [];
    for await (const kv of meta.scan(prefix, { ...wait, keysOnly: true })) keys.push(kv.key);
    return keys;
  };
}

/** `sv/<repo>/<id>/<repo>/<id>` → the downstream commit. */
function nameOfKey(key: string): CommitName {
  const parts = key.split('/');
  return { repo: parts[3] as string, id: parts[4] as string };
}

/**
 * Groups downstream commits into ranges: parents before children, a commit extends the range that
 * ends at its parent or starts a new one.
 */
export function toRanges(commits: readonly CommitRecord[]): CommitRange[] {
  const ranges: CommitRange[] = [];
  const byUpper = new Map<string, number>();
  for (const commit of parentsFirst(commits)) {
    const parent = parentKey(commit);
    const at = parent === undefined ? undefined : byUpper.get(parent);
    if (at === undefined || parent === undefined) {
      byUpper.set(commitKey(commit), ranges.length);
      ranges.push({ lower: commit, upper: commit });
    } else {
      byUpper.delete(parent);
      byUpper.set(commitKey(commit), at);
      ranges[at] = { lower: (ranges[at] as CommitRange).lower, upper: commit };
    }
  }
  return ranges;
}

/** By id, which is about the order of creation, but never a child before its parent. */
function parentsFirst(commits: readonly CommitRecord[]): CommitRecord[] {
  const left = new Map<string, CommitRecord>();
  for (const commit of [...commits].sort((a, b) => (a.id < b.id ? -1 : 1))) {
    left.set(commitKey(commit), commit);
  }
  const ordered: CommitRecord[] = [];
  for (const commit of left.values()) {
    const lineage: CommitRecord[] = [];
    for (let next: CommitRecord | undefined = commit; next;) {
      left.delete(commitKey(next));
      lineage.push(next);
      const parent = parentKey(next);
      next = parent === undefined ? undefined : left.get(parent);
    }
    ordered.push(...lineage.reverse());
  }
  return ordered;
}

function parentKey({ repo, parent }: CommitRecord): string | undefined {
  return parent === undefined ? undefined : commitKey({ repo, id: parent });
}

/**
 * Reverse-provenance keys that name commits of a repo about to be deleted, without those that still
 * lead further downstream into other repos.
 */
export async function staleSubvenance(meta: Meta, repo: string, wait: Wait): Promise<string[]> {
  const leadsOn = await leadingOn(meta, repo, wait);
  const stale: string[] = [];
  for await (const kv of meta.scan(commitsPrefix(repo), wait)) {
    stale.push(...keysNaming(JSON.parse(kv.value.toString()) as CommitRecord, leadsOn));
  }
  return stale;
}

/** Ids of the commits of a repo that have commits of other repos downstream. */
export async function leadingOn(meta: Meta, repo: string, wait: Wait): Promise<Set<string>> {
  const leadsOn = new Set<string>();
  for await (const kv of meta.scan(`sv/${repo}/`, { ...wait, keysOnly: true })) {
    const parts = kv.key.split('/');
    if (parts[3] !== repo) leadsOn.add(parts[2] as string);
  }
  return leadsOn;
}

/** Reverse-provenance keys that name a doomed commit, unless it leads further downstream. */
export function keysNaming(commit: CommitRecord, leadsOn: ReadonlySet<string>): string[] {
  return leadsOn.has(commit.id) ? [] : commit.provenance.map((up) => subvenanceKey(up, commit));
}

const SWEEP_BATCH = 100;

/** Deletes left-over keys a batch at a time; they are harmless, so failing to is no failure. */
export async function sweepKeys(
  deps: { readonly meta: Meta; readonly log: Log },
  keys: readonly string[],
  wait: Wait,
): Promise<void> {
  try {
    for (let at = 0; at < keys.length; at += SWEEP_BATCH) {
      const success = keys.slice(at, at + SWEEP_BATCH).map((key) => ({ delete: key }));
      await deps.meta.txn({ success }, wait);
    }
  } catch (error) {
    deps.log.info({ err: error }, 'left-over reverse provenance stays until later');
  }
}
