/**
 * Coordinators that put, finish, copy, delete and run jobs over one model etcd and one object store,
 * while collectors run, die, lose their leases and come back. Holds, sessions, transactions, runs,
 * trees, marking and sweeping are the real ones.
 */
import { deflateRawSync } from 'node:zlib';
import { tmpdir } from 'node:os';
import { AppError, cancelled, codeOf, messageOf, unavailable } from '../../../core/errors.js';
import { silentLog } from '../../../core/log.js';
import { NEVER } from '../../../core/signals.js';
import { GarbageCollector } from '../../../coordinator/gc/collector.js';
import { openEpochs, type Epochs } from '../../../coordinator/gc/epochs.js';
import type { Meta, MetaTxn } from '../../../coordinator/meta/index.js';
import { MemoryStore } from '../../../storage/memory-store.js';
import {
  decodeNode,
  encodeNode,
  FixedEpoch,
  held,
  refToText,
  runFromText,
  runToText,
  Storage,
  writeRun,
  type EpochSource,
  type RunRef,
} from '../../../storage/index.js';
import type { DirNode, RunOp } from '../../../storage/types.js';
import { RootReader } from './root-reader.js';
import { modelMeta, turnClock, type ModelLease } from './model-meta.js';
import { ModelEtcd } from './model-etcd.js';
import { Scheduler, type Process } from './scheduler.js';
import { turnStore } from './turn-store.js';

interface Wait {
  readonly signal: AbortSignal;
}

/** What a sabotaged world leaves out, to prove that the simulation would notice. */
export type Sabotage = 'no holds' | 'no fence' | 'no job epochs' | 'no watch';

interface Coordinator {
  readonly process: Process;
  readonly meta: Meta;
  readonly leases: Set<ModelLease>;
  readonly storage: Storage;
  readonly epochs: Epochs;
  readonly collector: GarbageCollector;
}

const CONTENTS = 6;
const wait: Wait = { signal: NEVER };

export interface Ended {
  /** Collections that ran to their end. */
  readonly collections: number;
  readonly deadBytes: number;
  readonly freedBytes: number;
}

export class GcWorld {
  readonly scheduler: Scheduler;
  readonly etcd = new ModelEtcd();
  readonly store = new MemoryStore();
  readonly #coordinators: Coordinator[] = [];
  /** Work under way, by process: that of the dead does not count. */
  readonly #busy = new Map<Process, number>();
  readonly #problems: unknown[] = [];
  #collections = 0;
  #names = 0;

  constructor(
    readonly seed: number,
    readonly sabotage?: Sabotage,
  ) {
    this.scheduler = new Scheduler(seed);
  }

  /** Lives through one interleaving; throws what was lost or is wrong. */
  async live(operations: number): Promise<Ended> {
    const { scheduler } = this;
    this.#newCoordinator();
    this.#newCoordinator();
    await scheduler.run(() => this.#running() === 0);
    for (let left = operations; left > 0;) {
      const batch = Math.min(left, 1 + scheduler.below(5));
      left -= batch;
      for (let index = 0; index < batch; index += 1) this.#operation();
      const collecting = scheduler.chance(2) ? this.#someone() : undefined;
      if (collecting) this.#start(collecting, () => this.#collect(collecting));
      const rest = scheduler.below(3);
      await scheduler.run(
        () => this.#running() <= rest,
        () => this.#disturb(),
      );
      if (this.#alive().length < 2) this.#newCoordinator();
    }
    return this.#ending();
  }

  /** Everything comes to rest; a last collection has to leave exactly what is alive. */
  async #ending(): Promise<Ended> {
    const { scheduler, etcd } = this;
    this.#forgetDead();
    await this.#rest();
    if (this.#alive().length === 0) this.#newCoordinator();
    await this.#rest();
    for (const { key } of etcd.all()) {
      if (key.startsWith('jrun/')) etcd.txn([], [{ delete: key }], []);
    }
    const live = await this.#readAll();
    const before = await this.#sizes();
    // A lease that ended meanwhile may stop one: then somebody runs it again.
    for (const seen = this.#collections; this.#collections === seen; await this.#rest()) {
      if (this.#alive().length === 0) this.#newCoordinator();
      const one = this.#someone();
      if (one) this.#start(one, () => this.#collect(one, true));
    }
    if (this.#problems.length > 0) throw this.#problems[0];
    await this.#readAll();
    const after = await this.#sizes();
    const sum = (sizes: ReadonlyMap<string, number>, keys: Iterable<string>): number =>
      [...keys].reduce((total, key) => total + (sizes.get(key) ?? 0), 0);
    const all = sum(before, before.keys());
    const deadBytes = all - sum(before, live);
    for (const coordinator of this.#alive()) {
      this.#start(coordinator, () => coordinator.epochs[Symbol.asyncDispose]());
    }
    await scheduler.run(() => this.#running() === 0);
    await this.#bury();
    const collections = this.#collections;
    return { collections, deadBytes, freedBytes: all - sum(after, after.keys()) };
  }

  /** The leases of the dead end, as time passes. */
  #forgetDead(): void {
    for (const { process, leases } of this.#coordinators) {
      if (process.dead) for (const { id } of leases) this.etcd.expire(id);
    }
  }

  /** The dead close their files, without another word to anybody. */
  async #bury(): Promise<void> {
    for (const { process, epochs } of this.#coordinators) {
      if (!process.dead) continue;
      const closing = epochs[Symbol.asyncDispose]();
      this.scheduler.bury(process);
      await closing.catch(() => undefined);
    }
  }

  async #rest(): Promise<void> {
    for (const { process } of this.#coordinators) process.paused = false;
    await this.scheduler.run(() => this.#running() === 0);
  }

  #running(): number {
    let running = 0;
    for (const [process, count] of this.#busy) if (!process.dead) running += count;
    return running;
  }

  #start({ process }: Pick<Coordinator, 'process'>, work: () => Promise<unknown>): void {
    const count = (by: number): void => {
      this.#busy.set(process, (this.#busy.get(process) ?? 0) + by);
    };
    count(1);
    work()
      .catch((error: unknown) => {
        // Refused, cut off, lost its session: the caller is told. Anything else is a bug.
        const fine = ['UNAVAILABLE', 'STATE_CONFLICT', 'CANCELLED'];
        if (!(error instanceof AppError) || !fine.includes(error.code)) this.#problems.push(error);
      })
      .finally(() => count(-1))
      .catch(() => undefined);
  }

  #alive(): Coordinator[] {
    return this.#coordinators.filter(({ process }) => !process.dead);
  }

  #someone(): Coordinator | undefined {
    return this.scheduler.pick(this.#alive());
  }

  #newCoordinator(): void {
    this.#names += 1;
    const process: Process = { name: `c${this.#names}`, dead: false, paused: false };
    this.#start({ process }, async () => {
      const { scheduler, etcd, sabotage } = this;
      const { meta, leases } = modelMeta(etcd, scheduler, process, sabotage === 'no watch');
      const base = { clock: turnClock(scheduler, process), log: silentLog };
      const epochs = await openEpochs({ meta, ...base, name: process.name }, wait);
      if (sabotage === 'no fence') meta.fenceWith(undefined as never);
      const store = turnStore(this.store, scheduler, process);
      const epoch = sabotage === 'no holds' ? withoutHolds(epochs) : epochs;
      const storage = new Storage(store, { epoch, cacheBytes: 0, ...base });
      const deps = { meta, storage, ...base, name: process.name, tempDir: tmpdir() };
      const collector = new GarbageCollector(deps);
      this.#coordinators.push({ process, meta, leases, storage, epochs, collector });
    });
  }

  async #collect({ collector, process }: Coordinator, toTheEnd = false): Promise<void> {
    const stop = new AbortController();
    const { scheduler } = this;
    if (!toTheEnd && scheduler.chance(6)) {
      const turns = scheduler.below(40);
      const stopping = (async () => {
        for (let turn = 0; turn < turns; turn += 1) await scheduler.turn(process);
        stop.abort(cancelled('stopped on the way'));
      })();
      stopping.catch(() => undefined);
    }
    await collector.collect({ dryRun: false, signal: stop.signal });
    this.#collections += 1;
  }

  /** Now and then: a coordinator dies, stands still, or loses a lease. */
  #disturb(): void {
    const { scheduler } = this;
    if (!scheduler.chance(80)) return;
    if (scheduler.chance(3)) this.#forgetDead();
    const victim = this.#someone();
    if (!victim) return;
    switch (scheduler.below(5)) {
      case 0:
        victim.process.paused = true;
        break;
      case 1:
        for (const { process } of this.#alive()) process.paused = false;
        break;
      case 2: {
        const lease = scheduler.pick([...victim.leases]);
        if (lease) this.#expire(victim, lease);
        break;
      }
      case 3:
        // Stopped for so long that its leases end.
        victim.process.paused = true;
        for (const lease of victim.leases) this.#expire(victim, lease);
        break;
      case 4:
        if (!scheduler.chance(3)) break;
        victim.process.dead = true;
    }
  }

  /** etcd ends a lease; its holder hears of it later. */
  #expire({ process }: Coordinator, lease: ModelLease): void {
    this.etcd.expire(lease.id);
    void this.scheduler.turn(process).then(
      () => lease.lose(),
      () => undefined,
    );
  }

  #operation(): void {
    const coordinator = this.#someone();
    if (!coordinator) return;
    const work = this.scheduler.pick([
      this.#put,
      this.#put,
      this.#finish,
      this.#finish,
      this.#copy,
      this.#remember,
      this.#delete,
      this.#delete,
      this.#job,
    ]);
    if (work) this.#start(coordinator, () => this.#try(coordinator, work));
  }

  /**
   * Who lost his session may find gone what he read about, and can make nothing visible; so may who
   * works for something that was deleted meanwhile. That he hears of it only later does not matter.
   */
  async #try(
    coordinator: Coordinator,
    work: (coordinator: Coordinator) => Promise<void>,
    forKey?: string,
  ): Promise<void> {
    const alive = (): ModelLease[] =>
      [...coordinator.leases].filter(({ id }) => this.etcd.leases.has(id));
    const before = alive();
    try {
      await work.call(this, coordinator);
    } catch (error) {
      const now = new Set(alive());
      const deleted = forKey !== undefined && this.etcd.range({ from: forKey }).kvs.length === 0;
      const lost = before.length === 0 || before.some((lease) => !now.has(lease));
      if (!(lost || deleted) || codeOf(error) !== 'CORRUPT_DATA') throw error;
      throw unavailable('it was for nothing', { cause: error });
    }
  }

  #name(): string {
    this.#names += 1;
    return String(this.#names).padStart(6, '0');
  }

  /** A few small files, the same ones again and again. */
  async #write(storage: Storage, extra: readonly RunOp[] = []): Promise<RunRef> {
    const writer = storage.newWriter(wait);
    const ops: RunOp[] = [...extra];
    for (let files = 1 + this.scheduler.below(3); files > 0; files -= 1) {
      const k = this.scheduler.below(CONTENTS);
      const content = await writer.writeBytes(Buffer.from(`content ${k} `.repeat(k + 1)));
      ops.push({ op: 'set', path: `/d${k % 2}/f${k}`, seq: 0, content });
      if (this.scheduler.chance(2)) await writer.flush(wait);
    }
    await writer.flush(wait);
    const run = await writeRun(storage, ops, wait);
    if ('object' in run || this.scheduler.chance(2)) return run;
    return { object: await storage.putObject('run', run.inline, wait) };
  }

  async #put({ storage, meta }: Coordinator): Promise<void> {
    await held(storage.epochs, 'writes', async () => {
      const runs = [runToText(await this.#write(storage))];
      const key = `dl/${this.#name()}`;
      await meta.transact(async (t) => t.putJson(key, { runs }), { ...wait, label: key });
    });
  }

  /** A tree of a few uploads, on top of another tree or not. */
  async #finish({ storage, meta }: Coordinator): Promise<void> {
    await held(storage.epochs, 'refs', async () => {
      const { kvs } = await meta.range('dl/', wait);
      const taken = kvs.slice(0, 1 + this.scheduler.below(3));
      if (taken.length === 0) return;
      const base = await this.#someTree(meta);
      const runs = taken.flatMap(({ value }) => {
        return (JSON.parse(value.toString()) as { runs: string[] }).runs.map(runFromText);
      });
      const root = await storage.trees.apply(base, runs, { ...wait, ordinal: 1, mode: 'put' });
      await this.#commit(
        meta,
        root,
        taken.map(({ key }) => key),
      );
    });
  }

  /** Grafts a part of one tree onto another; nothing is compared. */
  async #copy({ storage, meta }: Coordinator): Promise<void> {
    await held(storage.epochs, 'refs', async () => {
      const [from, onto] = [await this.#someTree(meta), await this.#someTree(meta)];
      const path = `/d${this.scheduler.below(2)}`;
      const node = from && (await storage.trees.lookup(from, path, wait));
      if (!node) return;
      const run = await writeRun(storage, [{ op: 'graft', path: '/copy', seq: 0, node }], wait);
      const options = { ...wait, ordinal: 1, mode: 'put' } as const;
      await this.#commit(meta, await storage.trees.apply(onto, [run], options), []);
    });
  }

  /** Keeps a node of a tree by itself. */
  async #remember({ storage, meta }: Coordinator): Promise<void> {
    await held(storage.epochs, 'refs', async () => {
      const tree = await this.#someTree(meta);
      const path = `/d1/f${this.scheduler.pick([1, 3, 5])}`;
      const node = tree && (await storage.trees.lookup(tree, path, wait));
      if (!node) return;
      const bytes = encodeNode(node);
      const record = this.scheduler.chance(2)
        ? { node: bytes.toString('base64') }
        : { blob: refToText(await storage.putObject('blob', bytes, wait)) };
      const key = `object/${this.#name()}`;
      await meta.transact(async (t) => t.putJson(key, record), { ...wait, label: key });
    });
  }

  async #delete({ meta }: Coordinator): Promise<void> {
    const prefix = this.scheduler.pick(['cm/', 'cm/', 'dl/', 'object/', 'job/']) as string;
    const victim = this.scheduler.pick((await meta.range(prefix, wait)).kvs);
    if (!victim) return;
    await meta.transact(async (t) => t.delete(victim.key), { ...wait, label: 'delete' });
  }

  /** Planned by one coordinator, run by a worker, ended by any coordinator. */
  async #job({ storage, meta }: Coordinator): Promise<void> {
    const id = this.#name();
    const job = `job/p/${id}`;
    const planned = await held(storage.epochs, 'refs', async () => {
      const tree = await this.#someTree(meta);
      if (!tree) return undefined;
      const { epoch } = storage;
      const node = encodeNode(tree).toString('base64');
      const segment = await blobOf(storage, [{ files: [{ node }] }]);
      const told = this.sabotage === 'no job epochs' ? 1_000_000 : epoch;
      const spec = await blobOf(storage, { epoch: told });
      const plan = await blobOf(storage, { spec, segments: [{ ref: segment, count: 1 }] });
      await meta.transact(
        async (t) => {
          t.putJson(job, { plan });
          t.putJson(`jrun/${id}`, { pipeline: 'p', job: id });
        },
        { ...wait, label: job },
      );
      return { tree, epoch, plan };
    });
    if (!planned) return;
    const worker: Process = { name: `w${id}`, dead: false, paused: false };
    // It goes on when the coordinator that planned it dies.
    this.#start({ process: worker }, async () => {
      const result = await this.#work(worker, planned);
      const owner = this.#someone();
      if (!owner) return;
      const end = (): Promise<void> => this.#endJob(owner, { ...planned, id, result });
      this.#start(owner, () => this.#try(owner, end, job));
    });
  }

  async #endJob(
    { storage, meta }: Coordinator,
    { id, plan, result }: { readonly id: string; readonly plan: string; readonly result: RunRef },
  ): Promise<void> {
    const job = `job/p/${id}`;
    await held(storage.epochs, 'writes', async () => {
      const log = await blobOf(storage, 'a line');
      const results = await blobOf(storage, { results: [{ run: runToText(result), log }] });
      const running = async (t: MetaTxn): Promise<boolean> =>
        Boolean((await t.get(`jrun/${id}`)) && (await t.get(job)));
      await meta.transact(
        async (t) => {
          if (await running(t)) t.putJson(job, { plan, results });
        },
        { ...wait, label: job },
      );
      const options = { ...wait, ordinal: 1, mode: 'merge' } as const;
      const root = await storage.trees.apply(undefined, [result], options);
      await meta.transact(
        async (t) => {
          if (!(await running(t))) return;
          t.delete(`jrun/${id}`);
          t.putJson(`cm/${id}`, { root: encodeNode(root).toString('base64') });
        },
        { ...wait, label: job },
      );
    });
  }

  async #work(
    process: Process,
    { tree, epoch }: { readonly tree: DirNode; readonly epoch: number },
  ): Promise<RunRef> {
    const { scheduler } = this;
    const store = turnStore(this.store, scheduler, process);
    const clock = turnClock(scheduler, process);
    const storage = new Storage(store, { epoch, cacheBytes: 0, clock, log: silentLog });
    const run = await this.#write(storage, [{ op: 'graft', path: '/input', seq: 0, node: tree }]);
    // Results lie in the queue for a while.
    for (let turns = scheduler.below(120); turns > 0; turns -= 1) await scheduler.turn(process);
    return run;
  }

  async #someTree(meta: Meta): Promise<DirNode | undefined> {
    const { kvs } = await meta.range('cm/', wait);
    const kv = this.scheduler.pick([...kvs, undefined]);
    if (!kv) return undefined;
    return nodeOf((JSON.parse(kv.value.toString()) as { root: string }).root) as DirNode;
  }

  async #commit(meta: Meta, root: DirNode, instead: readonly string[]): Promise<void> {
    const key = `cm/${this.#name()}`;
    await meta.transact(
      async (t) => {
        for (const old of instead) if (!(await t.get(old))) return;
        for (const old of instead) t.delete(old);
        t.putJson(key, { root: encodeNode(root).toString('base64') });
      },
      { ...wait, label: key },
    );
  }

  async #sizes(): Promise<Map<string, number>> {
    const sizes = new Map<string, number>();
    for await (const { key, size } of this.store.list('', wait)) sizes.set(key, size);
    return sizes;
  }

  /** Reads everything that etcd leads to, as its users do; the keys of all objects it took. */
  async #readAll(): Promise<Set<string>> {
    const reader = new RootReader(this.store);
    for (const { key, value } of this.etcd.all()) {
      try {
        await reader.read(key, value.toString());
      } catch (error) {
        throw new Error(`seed ${this.seed}: ${key} is hurt: ${messageOf(error)}`, { cause: error });
      }
    }
    return reader.keys;
  }
}

function withoutHolds(epochs: Epochs): EpochSource {
  return {
    current: () => {
      using _hold = epochs.hold('writes');
      return epochs.current();
    },
    hold: () => new FixedEpoch(0).hold(),
  };
}

async function blobOf(storage: Storage, value: unknown): Promise<string> {
  const bytes = deflateRawSync(JSON.stringify(value));
  return refToText(await storage.putObject('blob', bytes, wait));
}

function nodeOf(base64: string): ReturnType<typeof decodeNode> {
  return decodeNode(Buffer.from(base64, 'base64'));
}
