/** Matches of a job's inputs in the trees of its input commits. */
import { notFound } from '../../core/errors.js';
import type { MatchBatch } from '../../storage/index.js';
import type { TreeDiff, TreeReader } from '../../storage/tree-types.js';
import type { DirNode, Wait } from '../../storage/types.js';
import type { InputCommit } from '../pipelines/model.js';
import { commitKey, type CommitRecord } from '../versioning/model.js';
import type { InputRef } from './datum.js';
import type { MatchSource } from './enumerate.js';
import type { ManifestHeader } from './model.js';

export interface SourceDeps {
  readonly meta: { get(key: string, wait: Wait): Promise<{ value: Buffer } | undefined> };
  readonly storage: {
    readonly trees: Pick<TreeReader, 'globBatches' | 'diff'>;
    getJson<T>(ref: string, wait: Wait): Promise<T>;
  };
  readonly versioning: {
    openTree(commit: CommitRecord, wait: Wait): Promise<DirNode>;
  };
}

/** Matches of a job's inputs, and the trees they come from. */
export interface TreeSource extends MatchSource {
  /** The tree of an input; undefined when it has none, so that nothing at all can match. */
  root(input: InputRef, wait: Wait): Promise<DirNode | undefined>;
  /** What differs between two trees. */
  diff(a: DirNode, b: DirNode, wait: Wait): AsyncIterable<TreeDiff>;
}

/** Reads the commits a job was created for, however the branches move meanwhile. */
export class CommitSource implements TreeSource {
  readonly #commits: ReadonlyMap<string, string>;
  /** By commit; each is looked up once. */
  readonly #roots = new Map<string, Promise<DirNode | undefined>>();

  constructor(
    readonly deps: SourceDeps,
    inputs: readonly InputCommit[],
  ) {
    this.#commits = new Map(inputs.map((input) => [`${input.repo}@${input.branch}`, input.commit]));
  }

  commitOf(repo: string, branch: string): string {
    return this.#commits.get(`${repo}@${branch}`) ?? '';
  }

  async *matches(input: InputRef, glob: string, wait: Wait): AsyncGenerator<MatchBatch> {
    const root = await this.root(input, wait);
    if (root) yield* this.deps.storage.trees.globBatches(root, glob, wait);
  }

  async root({ repo, commit: id }: InputRef, wait: Wait): Promise<DirNode | undefined> {
    if (id === '') return undefined;
    const key = commitKey({ repo, id });
    const known = this.#roots.get(key);
    if (known) return known;
    const root = this.#find({ repo, id }, wait);
    this.#roots.set(key, root);
    root.catch(() => this.#roots.delete(key));
    return root;
  }

  async #find(name: { repo: string; id: string }, wait: Wait): Promise<DirNode | undefined> {
    const kv = await this.deps.meta.get(commitKey(name), wait);
    if (!kv) throw notFound(`commit ${name.repo}@${name.id} not found`, { fields: name });
    const commit = JSON.parse(kv.value.toString()) as CommitRecord;
    if (commit.finished !== undefined && commit.root === undefined) return undefined;
    const root = await this.deps.versioning.openTree(commit, wait);
    return root.files === 0 && (await this.#isVoid(commit, wait)) ? undefined : root;
  }

  diff(a: DirNode, b: DirNode, wait: Wait): AsyncIterable<TreeDiff> {
    return this.deps.storage.trees.diff(a, b, wait);
  }

  /** A job without datums wrote nothing at all: its output has not even a root to match. */
  async #isVoid(commit: CommitRecord, wait: Wait): Promise<boolean> {
    if (commit.datums === undefined) return false;
    const header = await this.deps.storage.getJson<ManifestHeader>(commit.datums, wait);
    return header.total === 0;
  }
}

/** An input's commit with the tree that was found for it. */
export interface KnownRoot {
  readonly repo: string;
  readonly branch: string;
  readonly commit: string;
  readonly root: DirNode | undefined;
}

/** Reads trees that somebody with access to metadata has looked up. */
export class RootSource implements TreeSource {
  readonly #roots: ReadonlyMap<string, KnownRoot>;

  constructor(
    readonly trees: Pick<TreeReader, 'globBatches' | 'diff'>,
    roots: readonly KnownRoot[],
  ) {
    this.#roots = new Map(roots.map((root) => [`${root.repo}@${root.branch}`, root]));
  }

  commitOf(repo: string, branch: string): string {
    return this.#roots.get(`${repo}@${branch}`)?.commit ?? '';
  }

  async *matches(input: InputRef, glob: string, wait: Wait): AsyncGenerator<MatchBatch> {
    const root = await this.root(input);
    if (root) yield* this.trees.globBatches(root, glob, wait);
  }

  root({ repo, branch }: InputRef): Promise<DirNode | undefined> {
    return Promise.resolve(this.#roots.get(`${repo}@${branch}`)?.root);
  }

  diff(a: DirNode, b: DirNode, wait: Wait): AsyncIterable<TreeDiff> {
    return this.trees.diff(a, b, wait);
  }
}

/** The matches of a job's inputs. */
export function commitSource(deps: SourceDeps, inputs: readonly InputCommit[]): CommitSource {
  return new CommitSource(deps, inputs);
}
