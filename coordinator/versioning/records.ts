/**
 * Reading branches and commits, and resolving references to them. `RecordReader` is implemented
 * twice: by `Records` (plain reads, for requests that change nothing) and by `Scope` (reads inside
 * a transaction), so that the grammar has one home.
 */
import { invalidInput, notFound } from '../../core/errors.js';
import type { Wait } from '../../storage/types.js';
import type { Meta } from '../meta/index.js';
import type { CommitCache } from './commit-cache.js';
import {
  branchKey,
  commitKey,
  commitsPrefix,
  repoKey,
  type BranchName,
  type BranchRecord,
  type CommitName,
  type CommitRecord,
  type RepoRecord,
} from './model.js';
import {
  branchNotFound,
  commitNotFound,
  noHead,
  parseRef,
  repoNotFound,
  type CommitRef,
} from './refs.js';

export interface RecordReader {
  repo(name: string): Promise<RepoRecord | undefined>;
  branch(name: BranchName): Promise<BranchRecord | undefined>;
  commit(name: CommitName): Promise<CommitRecord | undefined>;
  /** The commit and its ancestors, newest first; ends at the root or at a missing record. */
  ancestry(from: CommitRecord): AsyncIterable<CommitRecord>;
}

/** A resolved reference: the commit, and the branch it was addressed through, if any. */
export interface Resolved {
  readonly commit: CommitRecord;
  readonly viaBranch?: string;
}

/**
 * Finds the commit a request means. The answer is a snapshot. Throws INVALID_INPUT or NOT_FOUND
 * with the texts of the v1 API.
 */
export async function resolveRef(read: RecordReader, ref: CommitRef): Promise<Resolved> {
  if (ref.repo === '') throw invalidInput('cannot resolve commit with no repo');
  if (ref.id === '') throw invalidInput('cannot resolve commit with no ID or branch');
  const parsed = parseRef(ref.id);
  if (parsed.isId) {
    const commit = await read.commit({ repo: ref.repo, id: parsed.base });
    if (!commit) throw commitNotFound(ref.repo, ref.id);
    return { commit: await walk(read, commit, ref) };
  }
  const name = { repo: ref.repo, name: parsed.base };
  const branch = await read.branch(name);
  if (!branch) throw branchNotFound(name);
  if (branch.head === undefined) throw noHead(name);
  const head = await read.commit({ repo: ref.repo, id: branch.head });
  if (!head) throw commitNotFound(ref.repo, branch.head);
  return { commit: await walk(read, head, ref), viaBranch: parsed.base };
}

async function walk(
  read: RecordReader,
  start: CommitRecord,
  ref: CommitRef,
): Promise<CommitRecord> {
  const { ancestor, fromRoot } = parseRef(ref.id);
  if (ancestor === 0 && fromRoot === 0) return start;
  const lineage: CommitRecord[] = [];
  let last = start;
  for await (const commit of read.ancestry(start)) {
    last = commit;
    if (fromRoot === 0 && lineage.length === ancestor) return commit;
    lineage.push(commit);
  }
  if (last.parent !== undefined) {
    throw notFound(`parent commit ${last.parent} not found in repo ${ref.repo}`);
  }
  const found = fromRoot > 0 ? lineage[lineage.length - fromRoot] : undefined;
  if (!found) throw commitNotFound(ref.repo, ref.id);
  return found;
}

/** Reads outside transactions, through the cache. One per request. */
export class Records implements RecordReader {
  constructor(
    readonly deps: { readonly meta: Meta; readonly cache: CommitCache },
    readonly wait: Wait,
  ) {}

  async repo(name: string): Promise<RepoRecord | undefined> {
    return this.#read<RepoRecord>(repoKey(name));
  }

  /** The repo, or NOT_FOUND. */
  async needRepo(name: string): Promise<RepoRecord> {
    const record = await this.repo(name);
    if (!record) throw repoNotFound(name);
    return record;
  }

  async branch(name: BranchName): Promise<BranchRecord | undefined> {
    return this.#read<BranchRecord>(branchKey(name));
  }

  async commit(name: CommitName): Promise<CommitRecord | undefined> {
    const cached = this.deps.cache.finished(name);
    if (cached) return cached;
    const mark = this.deps.cache.mark(name.repo);
    const record = await this.#read<CommitRecord>(commitKey(name));
    if (record) this.deps.cache.remember(record, mark);
    return record;
  }

  /**
   * Walks parents. After a few single reads it reads whole pages of the repo's commits backwards:
   * ids sort by time, so a page holds the next ancestors.
   */
  async *ancestry(from: CommitRecord): AsyncIterable<CommitRecord> {
    yield from;
    let current = from;
    let misses = 0;
    while (current.parent !== undefined) {
      const name = { repo: current.repo, id: current.parent };
      if (!this.deps.cache.finished(name)) {
        misses += 1;
        if (misses > PAGE_AFTER_MISSES) await this.#readPage(name);
      }
      const parent = await this.commit(name);
      if (!parent) return;
      yield parent;
      current = parent;
    }
  }

  async #readPage(from: CommitName): Promise<void> {
    const mark = this.deps.cache.mark(from.repo);
    const prefix = commitsPrefix(from.repo);
    const { kvs } = await this.deps.meta.range(prefix, {
      ...this.wait,
      limit: ANCESTRY_PAGE,
      reverse: true,
      after: `${commitKey(from)}\0`,
    });
    for (const kv of kvs) {
      this.deps.cache.remember(JSON.parse(kv.value.toString()) as CommitRecord, mark);
    }
  }

  async #read<T>(key: string): Promise<T | undefined> {
    const kv = await this.deps.meta.get(key, this.wait);
    return kv && (JSON.parse(kv.value.toString()) as T);
  }
}

const PAGE_AFTER_MISSES = 4;
const ANCESTRY_PAGE = 200;
