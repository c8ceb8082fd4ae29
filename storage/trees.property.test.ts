/**
 * Trees against a naive model: any history, cut into runs anyhow and packed anyhow, gives the tree
 * the model gives, and the very hash that a tree built at once from the same files has.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../core/clock.js';
import { codeOf } from '../core/errors.js';
import { silentLog } from '../core/log.js';
import { compileGlob } from './glob.js';
import {
  Storage,
  writeRun,
  type DirNode,
  type FileContent,
  type RunOp,
  type RunRef,
} from './index.js';
import { MemoryStore } from './memory-store.js';
import { pathToKey } from './path.js';

const wait = { signal: new AbortController().signal };

/** A change in words; content is text. */
type Word =
  | { readonly op: 'append' | 'set'; readonly path: string; readonly text: string }
  | { readonly op: 'delete' | 'prune' | 'mkdir' | 'deleteGlob'; readonly path: string }
  | { readonly op: 'truncate'; readonly path: string; readonly keep: number }
  | { readonly op: 'split'; readonly path: string; readonly texts: readonly string[] }
  | {
      readonly op: 'graft';
      readonly path: string;
      readonly tree: readonly (readonly [string, string])[];
    };

class Conflict extends Error {}

/** Path → text of a file, or null for a directory. The root is always there. */
type State = Map<string, string | null>;

/** The obvious implementation: one change after the other on a map of paths. */
class Model {
  readonly state: State = new Map();
  readonly #made = new Map<string, number>();
  readonly #pruned = new Map<string, number>();
  #time = 0;

  apply(words: readonly Word[]): void {
    this.#made.clear();
    this.#pruned.clear();
    for (const word of words) {
      this.#time += 1;
      this.#step(word);
    }
    this.#prune();
  }

  #step(word: Word): void {
    switch (word.op) {
      case 'append':
        return this.#append(word.path, word.text);
      case 'set':
        this.#remove(word.path);
        return this.#append(word.path, word.text);
      case 'delete':
        return this.#remove(word.path);
      case 'prune':
        this.#mark(this.#pruned, word.path);
        return this.#remove(word.path);
      case 'mkdir':
        return this.#mkdir(word.path);
      case 'deleteGlob': {
        const glob = compileGlob(word.path);
        for (const path of ['', ...this.state.keys()]) if (glob.match(path)) this.#remove(path);
        return;
      }
      case 'truncate': {
        const text = this.state.get(word.path);
        if (typeof text === 'string' && word.keep === 0) this.state.set(word.path, '');
        return;
      }
      case 'split':
        return this.#split(word.path, word.texts);
      case 'graft':
        this.#mkdir(word.path);
        for (const [path, text] of word.tree) this.#append(word.path + path, text);
    }
  }

  #append(path: string, text: string): void {
    this.#mkdir(path.slice(0, path.lastIndexOf('/')));
    this.#mark(this.#made, path);
    const old = this.state.get(path);
    if (old === null) throw new Conflict(path);
    this.state.set(path, (old ?? '') + text);
  }

  #mkdir(path: string): void {
    this.#mark(this.#made, path);
    if (path === '') return;
    this.#mkdir(path.slice(0, path.lastIndexOf('/')));
    if (typeof this.state.get(path) === 'string') throw new Conflict(path);
    this.state.set(path, null);
  }

  #split(path: string, texts: readonly string[]): void {
    if (texts.length === 0) return;
    this.#mkdir(path);
    const last = this.children(path).at(-1);
    if (last !== undefined && !/^[0-9a-f]{1,15}$/.test(last)) throw new Conflict(path);
    let index = last === undefined ? 0 : Number.parseInt(last, 16) + 1;
    for (const text of texts) {
      this.#append(`${path}/${index.toString(16).padStart(16, '0')}`, text);
      index += 1;
    }
  }

  #remove(path: string): void {
    for (const each of [...this.state.keys()]) {
      if (each === path || each.startsWith(`${path}/`)) this.state.delete(each);
    }
  }

  children(path: string): string[] {
    const names = new Set<string>();
    for (const each of this.state.keys()) {
      if (each.startsWith(`${path}/`)) names.add(each.slice(path.length + 1).split('/')[0] ?? '');
    }
    return [...names].sort();
  }

  #mark(times: Map<string, number>, path: string): void {
    for (let each = path; ; each = each.slice(0, each.lastIndexOf('/'))) {
      times.set(each, this.#time);
      if (each === '') return;
    }
  }

  /** docs/formats/run.md, "Order of effect". */
  #prune(): void {
    const dirs = [...this.state.keys()].filter((path) => this.state.get(path) === null);
    for (const path of dirs.sort((a, b) => b.length - a.length)) {
      const pruned = this.#pruned.get(path) ?? -1;
      if (pruned > (this.#made.get(path) ?? -1) && this.children(path).length === 0) {
        this.state.delete(path);
      }
    }
  }
}

const LONG = 'long-name-'.repeat(250);
const names = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom('a', 'b', 'c', 'd.txt', 'é', '0000000000000001', 'ff') },
  { weight: 1, arbitrary: fc.nat({ max: 40 }).map((n) => LONG + String(n)) },
);
const paths = fc.array(names, { minLength: 1, maxLength: 3 }).map((parts) => `/${parts.join('/')}`);
const text = fc.constantFrom('', 'x', 'yy', 'zzz');
const word: fc.Arbitrary<Word> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constantFrom('append', 'set'), path: paths, text }) },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constantFrom('delete', 'prune', 'mkdir'), path: paths }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('deleteGlob' as const),
      path: fc.constantFrom('/*', '/**', '/a/*', '/*/b', '/**b', '/{a,b}/**', '/long*/a', '/'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('truncate' as const),
      path: paths,
      keep: fc.nat({ max: 2 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('split' as const),
      path: fc.constantFrom('/s', '/a', '/a/b'),
      texts: fc.array(text, { maxLength: 3 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('graft' as const),
      path: paths,
      tree: fc.constantFrom<(readonly [string, string])[]>(
        [],
        [['/a', '1']],
        [
          ['/a', '1'],
          ['/b/c', '2'],
          [`/${LONG}1`, '3'],
          [`/${LONG}2`, '4'],
          [`/${LONG}9`, '5'],
          [`/${LONG}7`, '6'],
        ],
      ),
    }),
  },
);
const history = fc.array(word, { maxLength: 30 });

class World {
  readonly storage = new Storage(new MemoryStore(), {
    epoch: 1,
    log: silentLog,
    clock: systemClock,
  });

  /** Stores texts: all in one pack, or each in its own. */
  async contents(texts: readonly string[], packed: boolean): Promise<FileContent[]> {
    let writer = this.storage.newWriter(wait);
    const contents: FileContent[] = [];
    for (const each of texts) {
      contents.push(await writer.writeBytes(Buffer.from(each)));
      if (packed) continue;
      await writer.flush(wait);
      writer = this.storage.newWriter(wait);
    }
    await writer.flush(wait);
    return contents;
  }

  async op(word: Word, seq: number, packed: boolean): Promise<RunOp> {
    const { path } = word;
    switch (word.op) {
      case 'append':
      case 'set': {
        const [content] = await this.contents([word.text], packed);
        return { op: word.op, path, seq, content: content as FileContent };
      }
      case 'delete':
        return { op: 'delete', path, seq };
      case 'prune':
        return { op: 'delete', path, seq, prune: true };
      case 'mkdir':
      case 'deleteGlob':
        return { op: word.op, path, seq };
      case 'truncate':
        return { op: 'truncate', path, seq, keep: word.keep };
      case 'split':
        return { op: 'split', path, seq, files: await this.contents(word.texts, packed) };
      case 'graft': {
        const state = new Map(word.tree);
        return { op: 'graft', path, seq, node: await this.fresh(state) };
      }
    }
  }

  /** Applies words as runs cut at the given places. */
  async apply(
    base: DirNode | undefined,
    words: readonly Word[],
    how: { readonly cuts: readonly number[]; readonly packed: boolean; readonly ordinal: number },
  ): Promise<DirNode> {
    const { packed, ordinal } = how;
    const cuts = [
      ...new Set([0, ...how.cuts.map((cut) => cut % (words.length + 1)), words.length]),
    ];
    cuts.sort((a, b) => a - b);
    const runs: RunRef[] = [];
    for (const [index, from] of cuts.slice(0, -1).entries()) {
      const slice = words.slice(from, cuts[index + 1]);
      const ops = await Promise.all(slice.map((each, seq) => this.op(each, seq, packed)));
      runs.push(await writeRun(this.storage, ops.reverse(), wait));
    }
    return this.storage.trees.apply(base, runs, { ...wait, ordinal, mode: 'put' });
  }

  /** A tree made at once. */
  async fresh(state: ReadonlyMap<string, string | null>): Promise<DirNode> {
    const words = [...state].map(([path, content]): Word =>
      content === null ? { op: 'mkdir', path } : { op: 'set', path, text: content },
    );
    return this.apply(undefined, words, { cuts: [], packed: true, ordinal: 1 });
  }

  async state(root: DirNode): Promise<State> {
    const state: State = new Map();
    for await (const { path, node } of this.storage.trees.walk(root, '', wait)) {
      if (path === '') continue;
      if (node.type === 'dir') {
        state.set(path, null);
        continue;
      }
      const parts: Buffer[] = [];
      for await (const part of this.storage.read(node, wait)) parts.push(part);
      state.set(path, Buffer.concat(parts).toString());
    }
    return state;
  }
}

const treeOrder = (state: State): [string, string | null][] =>
  [...state].sort(([a], [b]) => (pathToKey(a) < pathToKey(b) ? -1 : 1));

describe('apply', { timeout: 120_000 }, () => {
  it('equals the model and a fresh build, however the changes are cut and packed', async () => {
    const cuts = fc.array(fc.nat(), { maxLength: 4 });
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(history, history, cuts, cuts, async (first, second, cutsA, cutsB) => {
        const world = new World();
        const model = new Model();
        let root: DirNode;
        try {
          model.apply(first);
        } catch {
          return;
        }
        root = await world.apply(undefined, first, { cuts: cutsA, packed: true, ordinal: 1 });
        const before = new Map(model.state);
        const old = root;
        try {
          model.apply(second);
        } catch (error) {
          expect(error).toBeInstanceOf(Conflict);
          // Ops that were taken away again are forgiven; anything else must be refused.
          await world.apply(old, second, { cuts: cutsB, packed: false, ordinal: 2 }).catch((e) => {
            expect(codeOf(e)).toBe('STATE_CONFLICT');
          });
          return;
        }
        root = await world.apply(old, second, { cuts: cutsB, packed: false, ordinal: 2 });
        expect([...(await world.state(root))]).toEqual(treeOrder(model.state));
        const fresh = await world.fresh(model.state);
        expect(root.hash.toString('hex')).toBe(fresh.hash.toString('hex'));
        expect([root.size, root.files]).toEqual([fresh.size, fresh.files]);
        compared += 1;

        const found: string[] = [];
        for await (const { path, a, b } of world.storage.trees.diff(old, root, wait)) {
          if ((a ?? b)?.type === 'file' || (a && b && a.type !== b.type)) found.push(path);
        }
        const naive = treeOrder(new Map([...before, ...model.state]))
          .map(([path]) => path)
          .filter((path) => before.get(path) !== model.state.get(path))
          .filter((path) => before.get(path) != null || model.state.get(path) != null);
        expect(found).toEqual(naive);
      }),
      { numRuns: 400 },
    );
    expect(compared).toBeGreaterThan(50);
  });

  it('merges outputs of datums the same way in one go or step by step', async () => {
    const datum = fc.array(fc.tuple(fc.constantFrom('/a', '/b', '/d/a', '/d/b', '/e/f/g'), text), {
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(fc.array(datum, { maxLength: 8 }), fc.nat(), async (datums, cut) => {
        const world = new World();
        const { trees } = world.storage;
        const runs: RunRef[] = [];
        const model = new Map<string, string>();
        for (const [seq, outputs] of datums.entries()) {
          const own = new Map(outputs);
          const ops: RunOp[] = [];
          for (const [path, each] of own) {
            const [content] = await world.contents([each], true);
            ops.push({ op: 'append', path, seq, content: content as FileContent });
            model.set(path, (model.get(path) ?? '') + each);
          }
          runs.push(await writeRun(world.storage, ops, wait));
        }
        const options = { ...wait, ordinal: 1, mode: 'merge' as const };
        const whole = await trees.apply(undefined, runs, options);
        expect(whole.hash.toString('hex')).toBe((await world.fresh(model)).hash.toString('hex'));
        const turned = await trees.apply(undefined, [...runs].reverse(), options);
        expect(turned.hash.toString('hex')).toBe(whole.hash.toString('hex'));

        const at = cut % (runs.length + 1);
        const partial = await trees.apply(undefined, runs.slice(0, at), options);
        const later = runs.slice(at);
        try {
          const added = await trees.apply(partial, later, options);
          expect(added.hash.toString('hex')).toBe(whole.hash.toString('hex'));
        } catch (error) {
          expect(codeOf(error)).toBe('STATE_CONFLICT');
        }
        try {
          const taken = later.map((run) => ({ run, subtract: true }));
          const left = await trees.apply(whole, taken, options);
          expect(left.hash.toString('hex')).toBe(partial.hash.toString('hex'));
        } catch (error) {
          expect(codeOf(error)).toBe('STATE_CONFLICT');
        }
      }),
      { numRuns: 200 },
    );
  });
});
