/**
 * Listing commits in order of creation. Order is the create revision of the record, so it is found
 * with a scan of keys only; the records themselves stream in pages of ids, which grow with time, so
 * only as many wait in memory as clocks of several coordinators disagree.
 */
import { codeOf, invalidInput, messageOf } from '../../core/errors.js';
import type { Wait } from '../../storage/types.js';
import type { InfoDeps } from './info.js';
import { commitsPrefix, type CommitName, type CommitRecord } from './model.js';
import { Records, resolveRef } from './records.js';
import { noHead, parseRef, type CommitRef } from './refs.js';

export interface ListCommitsInput {
  /** Empty: all repos. */
  readonly repo: string;
  /** Exclusive; needs `to`. */
  readonly from?: CommitRef;
  readonly to?: CommitRef;
  /** 0 = all. */
  readonly number?: number;
  readonly reverse?: boolean;
}

const PAGE = 256;

/** Streams commits as ListCommit promises; INVALID_INPUT and NOT_FOUND as in the v1 API. */
export async function* listCommits(
  deps: InfoDeps,
  input: ListCommitsInput,
  wait: Wait,
): AsyncGenerator<CommitRecord> {
  const { from, to, repo } = input;
  if (input.reverse && (from || to)) {
    throw invalidInput("cannot use 'Reverse' while also using 'From' or 'To'");
  }
  if (from && !to) throw invalidInput('cannot use `from` commit without `to` commit');
  if ((from && from.repo !== repo) || (to && to.repo !== repo)) {
    throw invalidInput(`\`from\` and \`to\` commits need to be from repo ${repo}`);
  }
  const read = new Records(deps, wait);
  if (repo !== '') await read.needRepo(repo);
  let left = input.number || Number.POSITIVE_INFINITY;
  const source = to ? lineage(read, to, from) : byCreation(deps, input, wait);
  for await (const commit of source) {
    yield commit;
    left -= 1;
    if (left <= 0) return;
  }
}

/** `to` and its ancestors, stopping before `from`. A branch without a head has none. */
async function* lineage(
  read: Records,
  to: CommitRef,
  from: CommitRef | undefined,
): AsyncGenerator<CommitRecord> {
  let start: CommitRecord;
  try {
    start = (await resolveRef(read, to)).commit;
  } catch (error) {
    const text = noHead({ repo: to.repo, name: parseRef(to.id).base }).message;
    if (codeOf(error) === 'NOT_FOUND' && messageOf(error) === text) return;
    throw error;
  }
  const stop = from && (await resolveRef(read, from)).commit.id;
  for await (const commit of read.ancestry(start)) {
    if (commit.id === stop) return;
    yield commit;
  }
}

interface Created extends CommitName {
  readonly created: number;
}

async function* byCreation(
  deps: InfoDeps,
  input: ListCommitsInput,
  wait: Wait,
): AsyncGenerator<CommitRecord> {
  const names = await commitsByCreation(deps, input.repo, wait);
  if (!input.reverse) names.reverse();
  const pages = new CommitPages(deps, { reverse: !input.reverse }, wait);
  let group: CommitRecord[] = [];
  let revision = -1;
  // Commits of one transaction: downstream ones first, or last when the list is turned around.
  const sign = input.reverse ? 1 : -1;
  const sorted = (): CommitRecord[] =>
    group.sort((a, b) => sign * (a.provenance.length - b.provenance.length));
  for (const name of names) {
    if (name.created !== revision) {
      yield* sorted();
      group = [];
      revision = name.created;
    }
    const record = await pages.take(name);
    if (record) group.push(record);
  }
  yield* sorted();
}

/** Names of commits in order of creation, oldest first, optionally only those made after. */
export async function commitsByCreation(
  deps: Pick<InfoDeps, 'meta'>,
  repo: string,
  wait: Wait & { after?: number },
): Promise<Created[]> {
  const names: Created[] = [];
  const prefix = repo === '' ? 'cm/' : commitsPrefix(repo);
  for await (const kv of deps.meta.scan(prefix, { signal: wait.signal, keysOnly: true })) {
    const created = kv.createRevision;
    if (wait.after !== undefined && created <= wait.after) continue;
    const [, ofRepo, id] = kv.key.split('/') as [string, string, string];
    names.push({ repo: ofRepo, id, created });
  }
  return names.sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1));
}

/** Reads records of commits in about the order of their ids, a page at a time per repo. */
class CommitPages {
  readonly #repos = new Map<string, { after?: string; records: Map<string, CommitRecord> }>();

  constructor(
    readonly deps: InfoDeps,
    readonly order: { readonly reverse: boolean },
    readonly wait: Wait,
  ) {}

  /** The record; undefined when it has been deleted since. */
  async take(name: CommitName): Promise<CommitRecord | undefined> {
    const cached = this.deps.cache.finished(name);
    if (cached) return cached;
    const repo = this.#repos.get(name.repo) ?? { records: new Map<string, CommitRecord>() };
    this.#repos.set(name.repo, repo);
    const passed = (): boolean =>
      repo.after !== undefined &&
      (this.order.reverse ? repo.after <= keyOf(name) : repo.after >= keyOf(name));
    while (!repo.records.has(name.id) && !passed()) {
      if (!(await this.#readPage(name.repo, repo))) break;
    }
    const record = repo.records.get(name.id);
    repo.records.delete(name.id);
    return record ?? new Records(this.deps, this.wait).commit(name);
  }

  async #readPage(
    name: string,
    repo: { after?: string; records: Map<string, CommitRecord> },
  ): Promise<boolean> {
    const mark = this.deps.cache.mark(name);
    const { kvs } = await this.deps.meta.range(commitsPrefix(name), {
      signal: this.wait.signal,
      limit: PAGE,
      reverse: this.order.reverse,
      ...(repo.after === undefined ? {} : { after: repo.after }),
    });
    for (const kv of kvs) {
      const record = JSON.parse(kv.value.toString()) as CommitRecord;
      this.deps.cache.remember(record, mark);
      repo.records.set(record.id, record);
      repo.after = kv.key;
    }
    return kvs.length === PAGE;
  }
}

const keyOf = (name: CommitName): string => `${commitsPrefix(name.repo)}${name.id}`;
