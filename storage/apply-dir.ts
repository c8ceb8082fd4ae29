/**
 * One directory of an apply: walks the ops below it and the directories it is made of (*layers*) by
 * name, decides each child (apply-child.ts) and edits the first layer's map, so that the cost
 * follows the changes.
 *
 * D1 Ops arrive ordered by path: all ops of a child are taken before the next child is begun.
 * D2 Children whose ops are few and whose pages must be read are decided concurrently; entries are
 *    edited in order all the same.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ApplyContext } from './apply-context.js';
import { decideChild, type Outcome } from './apply-child.js';
import type { Layer } from './apply-file.js';
import { BASE_TIME, OpQueue, type TimedGlob } from './apply-ops.js';
import { withFloor } from './edges.js';
import type { BuiltMap } from './map-builder.js';
import { MapCursor } from './map-cursor.js';
import { MapEditor } from './map-editor.js';
import { KEY_SEPARATOR, keyToPath } from './path.js';
import type { KeyedOp } from './run-format.js';
import type { DirNode, TreeNode } from './types.js';

const GROUP_OPS_MAX = 256;
const PENDING_MAX = 64;
const TURN_CHILDREN = 4096;

/** A directory that is being made. */
export interface Frame {
  readonly key: string;
  /** Ops and layers before this time have no effect. */
  readonly wiped: number;
  /** Directories merged here, by time; their times are ≥ wiped. */
  readonly layers: readonly Layer<DirNode>[];
  /** What was there before the apply. */
  readonly before: DirNode | undefined;
  readonly globs: readonly TimedGlob[];
}

/** A directory that was made: its map, and the latest times at which something happened below. */
export interface MadeDir {
  readonly built: BuiltMap;
  /** Latest op that made something below, whether or not it lasted. */
  readonly made: number;
  /** Latest delete with pruning below. */
  readonly pruned: number;
  /** Files directly in it that show its header and footer. */
  readonly inheriting: number;
}

/** Makes the directory; takes all ops below it from the queue. */
export async function makeDir(context: ApplyContext, frame: Frame, ops: OpQueue): Promise<MadeDir> {
  return new DirMaker(context, frame, ops, await openLayers(context, frame)).run();
}

interface OpenLayers {
  readonly editor: MapEditor<TreeNode>;
  /** The first layer, which is edited. */
  readonly old: MapCursor<TreeNode> | undefined;
  /** The other layers. */
  readonly others: { readonly layer: Layer<DirNode>; readonly cursor: MapCursor<TreeNode> }[];
  /** What was there before, where that is not the first layer. */
  readonly before: MapCursor<TreeNode> | undefined;
}

async function openLayers(context: ApplyContext, frame: Frame): Promise<OpenLayers> {
  const { store, sink, options: wait } = context;
  const [first, ...rest] = frame.layers;
  const page = first && (await context.page(first.node));
  const others: OpenLayers['others'] = [];
  for (const layer of rest) {
    others.push({ layer, cursor: new MapCursor(store, await context.page(layer.node), wait, 4) });
  }
  const { before } = frame;
  const separate = before && before !== first?.node ? await context.page(before) : undefined;
  return {
    editor: new MapEditor(store, sink, page, wait),
    old: page && new MapCursor(store, page, wait),
    others,
    before: separate && new MapCursor(store, separate, wait),
  };
}

interface Pending {
  readonly name: string;
  /** The first layer has a file there that shows the directory's header and footer. */
  readonly inherited: boolean;
  readonly outcome: Outcome | Promise<Outcome>;
}

class DirMaker {
  readonly #prefix: string;
  readonly #pending: Pending[] = [];
  /** Every child of the first layer must be looked at. */
  readonly #scan: boolean;
  #made = -Infinity;
  #pruned = -Infinity;
  #inheriting: number;
  /** Of the child that is being decided; see Pending. */
  #inherited = false;

  constructor(
    readonly context: ApplyContext,
    readonly frame: Frame,
    readonly ops: OpQueue,
    readonly open: OpenLayers,
  ) {
    this.#prefix = frame.key + KEY_SEPARATOR;
    this.#scan = frame.globs.length > 0;
    this.#inheriting = frame.layers[0]?.node.edges?.files ?? 0;
  }

  async run(): Promise<MadeDir> {
    const { context } = this;
    for (;;) {
      const positioned = this.#position();
      if (positioned) await positioned;
      const name = this.#nextName();
      if (name === undefined) break;
      const child = this.#child(name);
      const outcome = child instanceof Promise ? await child : child;
      const edited = this.#edit(name, outcome.outcome);
      if (edited) await edited;
      context.steps += 1;
      if (context.steps % TURN_CHILDREN === 0) {
        await nextTurn();
        context.options.signal.throwIfAborted();
      }
    }
    while (this.#pending.length > 0) await this.#editFirst();
    const built = await this.open.editor.finish();
    return { built, made: this.#made, pruned: this.#pruned, inheriting: this.#inheriting };
  }

  /** Brings the cursors that name the next child to entries. */
  #position(): Promise<void> | undefined {
    for (const { cursor } of this.open.others) {
      if (!cursor.done && !cursor.onEntry) {
        const waiting = cursor.seek('');
        if (waiting) return waiting.then(() => this.#position());
      }
    }
    const { old } = this.open;
    if (this.#scan && old && !old.done && !old.onEntry) return old.seek('');
    return undefined;
  }

  #nextName(): string | undefined {
    let name: string | undefined;
    const key = this.ops.head?.key;
    if (key?.startsWith(this.#prefix)) {
      const end = key.indexOf(KEY_SEPARATOR, this.#prefix.length);
      name = key.slice(this.#prefix.length, end < 0 ? undefined : end);
    }
    for (const { cursor } of this.open.others) {
      if (!cursor.done && (name === undefined || cursor.key < name)) name = cursor.key;
    }
    const { old } = this.open;
    if (this.#scan && old && !old.done && (name === undefined || old.key < name)) name = old.key;
    return name;
  }

  /** Takes the child's layers and ops, then decides it. The wrapper keeps promises apart. */
  #child(name: string): { outcome: Pending['outcome'] } | Promise<{ outcome: Pending['outcome'] }> {
    const sought = this.#seek(name);
    if (sought) return sought.then(() => this.#childAt(name));
    const key = this.#prefix + name;
    const exact: KeyedOp[] = [];
    const taken = this.#takeExact(key, exact);
    if (taken) return taken.then(() => this.#decide(name, key, exact));
    return this.#decide(name, key, exact);
  }

  async #childAt(name: string): Promise<{ outcome: Pending['outcome'] }> {
    const key = this.#prefix + name;
    const exact: KeyedOp[] = [];
    const taken = this.#takeExact(key, exact);
    if (taken) await taken;
    return this.#decide(name, key, exact);
  }

  #seek(name: string): Promise<void> | undefined {
    const { old, before } = this.open;
    const one = old && !old.done ? old.seek(name) : undefined;
    const two = before && !before.done ? before.seek(name) : undefined;
    if (!one && !two) return undefined;
    return Promise.all([one, two]).then(() => undefined);
  }

  #takeExact(key: string, exact: KeyedOp[]): Promise<void> | undefined {
    const { ops } = this;
    while (ops.head?.key === key) {
      exact.push(ops.head);
      const waiting = ops.advance();
      if (waiting) return waiting.then(() => this.#takeExact(key, exact));
    }
    return undefined;
  }

  #decide(
    name: string,
    key: string,
    exact: readonly KeyedOp[],
  ): { outcome: Pending['outcome'] } | Promise<{ outcome: Pending['outcome'] }> {
    const { layers, before } = this.#entries(name);
    const { context, frame, ops } = this;
    const input = { key, exact, layers, before, wiped: frame.wiped, globs: frame.globs };
    const below = key + KEY_SEPARATOR;
    const deep = ops.head !== undefined && ops.head.key.startsWith(below);
    if (!deep) return { outcome: decideChild(context, input, ops) };
    if (!isStored(layers) || context.active >= PENDING_MAX) {
      const decided = decideChild(context, input, ops);
      if (!(decided instanceof Promise)) return { outcome: decided };
      return decided.then((outcome) => ({ outcome }));
    }
    return ops.takeGroup(below, GROUP_OPS_MAX).then((group) => {
      if (!group) {
        return Promise.resolve(decideChild(context, input, ops)).then((outcome) => ({ outcome }));
      }
      const decided = decideChild(context, input, new OpQueue(undefined, group));
      return { outcome: decided };
    });
  }

  /** What the layers have at this name; the cursors pass it. */
  #entries(name: string): { layers: Layer[]; before: TreeNode | undefined } {
    const { old, others, before } = this.open;
    const [first] = this.frame.layers;
    const layers: Layer[] = [];
    let previous: TreeNode | undefined;
    this.#inherited = false;
    if (first && old && !old.done && old.onEntry && old.key === name) {
      const node = old.value;
      this.#inherited = inherits(node);
      layers.push(layerOf(node, first));
      if (!before && this.frame.before) previous = node;
      old.skip();
    }
    for (const { layer, cursor } of others) {
      if (cursor.done || cursor.key !== name) continue;
      layers.push(layerOf(withFloor(cursor.value, layer.node.floor), layer));
      cursor.skip();
    }
    if (before && !before.done && before.onEntry && before.key === name) previous = before.value;
    return { layers, before: previous };
  }

  /** Edits the entry, after those that are still being decided. */
  #edit(name: string, outcome: Pending['outcome']): Promise<void> | undefined {
    const inherited = this.#inherited;
    if (this.#pending.length === 0 && !(outcome instanceof Promise)) {
      return this.#apply({ name, inherited }, outcome);
    }
    if (outcome instanceof Promise) void this.context.track(outcome);
    this.#pending.push({ name, inherited, outcome });
    return this.#pending.length > PENDING_MAX ? this.#editFirst() : undefined;
  }

  async #editFirst(): Promise<void> {
    const first = this.#pending.shift() as Pending;
    const edited = this.#apply(first, await first.outcome);
    if (edited) await edited;
  }

  #apply(child: Omit<Pending, 'outcome'>, outcome: Outcome): Promise<void> | undefined {
    if (outcome.made > this.#made) this.#made = outcome.made;
    if (outcome.pruned > this.#pruned) this.#pruned = outcome.pruned;
    this.#inheriting += Number(inherits(outcome.node)) - Number(child.inherited);
    return this.open.editor.apply(child.name, outcome.node);
  }
}

/** The child of a layer; one that inherits brings along what it shows there. */
function layerOf(node: TreeNode, dir: Layer<DirNode>): Layer {
  const { time, foreign } = dir;
  return inherits(node) ? { time, node, edges: dir.node.edges, foreign } : { time, node };
}

function inherits(node: TreeNode | undefined): boolean {
  return node?.type === 'file' && node.inherits === true;
}

/** Reading this takes a request or more. */
function isStored(layers: readonly Layer[]): boolean {
  return layers.some(({ node }) => node.type === 'dir' && 'page' in node.root);
}

/** Globs that can match below the directory, as of a time when it can matter. */
export function globsBelow(globs: readonly TimedGlob[], key: string): readonly TimedGlob[] {
  if (globs.length === 0) return globs;
  const path = keyToPath(key);
  return globs.filter(({ glob, time }) => time > BASE_TIME && glob.mayMatchBelow(path));
}
