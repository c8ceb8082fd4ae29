/**
 * The keys of a tree in S3's order: bytewise over whole keys. A directory's keys sort as if it were
 * called `name/`, which is not where its name stands among its siblings: `a-b` comes between `a` and
 * `a/x`. So a directory waits until everything before `name/` is out.
 *
 * K1 Starting anywhere costs the depth of the path, not what lies before it.
 * K2 What waits is a chain of names each beginning with the one before: memory is a key's length.
 */
import type { DirNode, FileNode, TreeNode, Wait } from '../../storage/types.js';
import { toBinary } from '../../storage/path.js';
import type { Trees } from '../../storage/index.js';

/** A key, or with a delimiter everything below one directory. */
export type Listed =
  | { readonly kind: 'file'; readonly key: string; readonly node: FileNode }
  /** An empty directory; its key ends in a slash. */
  | { readonly kind: 'marker'; readonly key: string; readonly node: DirNode }
  | { readonly kind: 'prefix'; readonly key: string };

export interface ListRange extends Wait {
  readonly prefix: string;
  /** Only what sorts behind it. With `flat` false, a prefix equal to it is behind us too. */
  readonly after?: string | undefined;
  /** false: directories below the prefix are listed as one prefix each. */
  readonly flat: boolean;
}

export type ListTrees = Pick<Trees, 'empty' | 'list' | 'lookup'>;

/** Keys of a root directory. */
export function listKeys(trees: ListTrees, dir: DirNode, range: ListRange): AsyncGenerator<Listed> {
  return new KeyLister(trees, range).below(dir, '', range.prefix, range.after);
}

/** Whether `a` sorts before `b` in bytes. */
export function keyLess(a: string, b: string): boolean {
  return toBinary(a) < toBinary(b);
}

interface Child {
  readonly name: string;
  readonly node: TreeNode;
}

const SLASH = 0x2f;

class KeyLister {
  constructor(
    readonly trees: ListTrees,
    readonly range: ListRange,
  ) {}

  /** Keys below `base`; prefix and after are what is left of them behind it. */
  async *below(
    dir: DirNode,
    base: string,
    prefix: string,
    after: string | undefined,
  ): AsyncGenerator<Listed> {
    if (after !== undefined && !after.startsWith(prefix)) {
      if (keyLess(prefix, after)) return;
      after = undefined;
    }
    const slash = prefix.indexOf('/');
    if (slash >= 0) {
      const name = prefix.slice(0, slash);
      const node = await this.#child(dir, name);
      if (node?.type !== 'dir') return;
      const rest = slash + 1;
      yield* this.below(node, `${base}${name}/`, prefix.slice(rest), after?.slice(rest));
      return;
    }
    if (prefix === '' && base !== '' && after === undefined && this.#isEmpty(dir)) {
      yield { kind: 'marker', key: base, node: dir };
      return;
    }
    const waiting: Child[] = [];
    for await (const child of this.#children(dir, prefix, after)) {
      for (let top = waiting.at(-1); top && !waitsFor(top, child); top = waiting.at(-1)) {
        waiting.pop();
        yield* this.#emit(top, base, after);
      }
      if (child.node.type === 'dir') waiting.push(child);
      else yield { kind: 'file', key: base + child.name, node: child.node };
    }
    for (let top = waiting.pop(); top; top = waiting.pop()) yield* this.#emit(top, base, after);
  }

  async *#emit(child: Child, base: string, after: string | undefined): AsyncGenerator<Listed> {
    const { name, node } = child;
    if (node.type !== 'dir') return;
    const key = `${base}${name}/`;
    const inside = after?.startsWith(`${name}/`) ? after.slice(name.length + 1) : undefined;
    if (this.range.flat) {
      yield* this.below(node, key, '', inside);
      return;
    }
    if (inside === '') return;
    // Only a directory that we are in the middle of may have nothing left.
    const keys = new KeyLister(this.trees, { ...this.range, flat: true });
    if (inside === undefined || !(await isDone(keys.below(node, key, '', inside)))) {
      yield { kind: 'prefix', key };
    }
  }

  /** Children that may hold keys with the prefix, behind `after`, in the order of their names. */
  async *#children(dir: DirNode, prefix: string, after: string | undefined): AsyncGenerator<Child> {
    const slash = after?.indexOf('/') ?? -1;
    const inside = after !== undefined && slash >= 0;
    const start = after === undefined ? prefix : inside ? after.slice(0, slash) : after;
    if (after !== undefined) yield* this.#shorter(dir, start, prefix.length);
    if (start !== '') {
      const node = await this.#child(dir, start);
      if (node && (after === undefined || node.type === 'dir')) yield { name: start, node };
    }
    const { signal } = this.range;
    // From `a/x` on, siblings like `a-b` are behind us.
    const from = inside ? `${start}/` : start;
    const rest = this.trees.list(dir, '', { signal, ...(from === '' ? {} : { after: from }) });
    for await (const child of rest) {
      if (!child.name.startsWith(prefix)) return;
      yield child;
    }
  }

  /** Directories whose names sort before `name` but whose keys sort behind it. */
  async *#shorter(dir: DirNode, name: string, least: number): AsyncGenerator<Child> {
    for (let at = Math.max(1, least); at < name.length; at += 1) {
      if (name.charCodeAt(at) >= SLASH) continue;
      const node = await this.#child(dir, name.slice(0, at));
      if (node?.type === 'dir') yield { name: name.slice(0, at), node };
    }
  }

  async #child(dir: DirNode, name: string): Promise<TreeNode | undefined> {
    if (name === '') return undefined;
    return this.trees.lookup(dir, `/${name}`, { signal: this.range.signal });
  }

  #isEmpty(dir: DirNode): boolean {
    return isEmptyDir(this.trees, dir);
  }
}

/** A directory with nothing in it, which is shown as a key of its own. */
export function isEmptyDir(trees: Pick<Trees, 'empty'>, dir: DirNode): boolean {
  return dir.files === 0 && dir.hash.equals(trees.empty.hash);
}

/** The directory's keys come after the child: the child's name goes on with a byte below `/`. */
function waitsFor(dir: Child, child: Child): boolean {
  return child.name.startsWith(dir.name) && child.name.charCodeAt(dir.name.length) < SLASH;
}

async function isDone(keys: AsyncGenerator<Listed>): Promise<boolean> {
  const first = await keys.next();
  await keys.return(undefined);
  return first.done ?? false;
}
