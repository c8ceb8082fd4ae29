/**
 * Runs tasks in one real slot: real store (a directory), real spawner, real sandbox, and the
 * worker's own task code; only the queue is left out, its messages are kept.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { inflateRaw } from 'node:zlib';
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import { NEVER } from '../../core/signals.js';
import { linesOf } from '../../queue/log-text.js';
import type {
  DatumResult,
  JobSpec,
  LogLine,
  TaskDetails,
  TaskMessage,
  TaskResult,
  WorkDatum,
  WorkTransform,
} from '../../queue/messages.js';
import {
  encodeNode,
  openStorage,
  readRun,
  refFromText,
  runFromText,
  type DirNode,
  type FileContent,
  type RunOp,
  type TreeNode,
} from '../../storage/index.js';
import { GitClones } from '../../worker/git-clone.js';
import { WorkerSecrets } from '../../worker/secrets.js';
import { BlobCache } from '../../worker/blob-cache.js';
import type { ContainerEngine } from '../../worker/engine.js';
import { Images } from '../../worker/images.js';
import { InputCache } from '../../worker/input-cache.js';
import { makeSlotFiles, probeIsolation } from '../../worker/isolation.js';
import { S3Endpoints } from '../../worker/s3/endpoint.js';
import { SlotBoxes } from '../../worker/slot-box.js';
import { SpawnerClient } from '../../worker/spawner-client.js';
import type { CgroupHome, Isolation } from '../../worker/spawner-protocol.js';
import { LiveBudget } from '../../worker/task-log.js';
import { runTask, type TaskDeps } from '../../worker/task.js';
import { storageByEpoch } from '../../worker/worker.js';
import { tempDir } from './temp-dir.js';

const inflate = promisify(inflateRaw);
const wait = { signal: NEVER };
const JOB = '0192a1b2c3d4'.padEnd(12, '0') + '4' + 'ab'.repeat(9) + 'a';

export interface BenchTask {
  readonly transform: Partial<WorkTransform>;
  /** Per datum, per input. */
  readonly datums: readonly (readonly BenchInput[])[];
  readonly datumTries?: number;
  readonly datumTimeoutMs?: number;
  readonly memoryBytesMax?: number;
  readonly diskBytesMax?: number;
  readonly cpusMax?: number;
  readonly gpus?: number;
}

export interface BenchInput {
  readonly name: string;
  readonly path: string;
  readonly tree: DirNode;
  readonly emptyFiles?: boolean;
  readonly lazy?: boolean;
}

export interface BenchRun {
  readonly result: TaskResult;
  readonly live: readonly LogLine[];
}

export type TaskBench = Awaited<ReturnType<typeof openTaskBench>>;

export interface BenchOptions {
  readonly cgroups?: CgroupHome;
  readonly engine?: ContainerEngine;
  readonly isolation?: Isolation;
  readonly gpus?: readonly string[];
  /** File with an image table. */
  readonly imageTable?: string;
}

export async function openTaskBench(options: BenchOptions = {}) {
  const spawner = new SpawnerClient({ log: () => silentLog });
  const dir = await tempDir('task');
  const clock = systemClock;
  const log = silentLog;
  const storage = await openStorage({
    url: `dir://${join(dir.path, 'store')}`,
    epoch: 7,
    log,
    clock,
  });
  const dataDir = join(dir.path, 'worker');
  const path = process.env.PATH ?? '';
  const isolation = await probeIsolation({
    spawner,
    dataDir,
    forced: options.isolation,
    path,
    log,
    ...wait,
  });
  const files = makeSlotFiles(dataDir, 0, isolation);
  const gpus = options.gpus ?? [];
  const boxes = new SlotBoxes({ spawner, isolation, cgroups: options.cgroups, gpuDevices: [] });
  const images = new Images({
    engine: options.engine,
    dir: join(dataDir, 'images'),
    tableFile: options.imageTable,
    roots: isolation === 'bwrap',
    mounts: isolation !== 'plain',
    log,
    clock,
  });
  const cache = new InputCache({
    dir: join(dataDir, 'cache'),
    bytesMax: 1e9,
    copies: isolation === 'plain',
    read: (content, options) => storage.read(content, options),
  });
  const inherited = { PATH: '/usr/local/bin:/usr/bin:/bin' };
  const secrets = new WorkerSecrets({ isolation, dataDir, ask: () => Promise.resolve([]) });
  const clones = new GitClones(join(dataDir, 'git'));
  const endpoints = new S3Endpoints({ clock, log });

  const deps = (live: (line: LogLine) => void): TaskDeps => ({
    clock,
    log,
    spawner,
    cache,
    boxes,
    images,
    secrets,
    clones,
    endpoints,
    gpus,
    trees: storage.trees,
    blobs: new BlobCache(storage),
    storage: storageByEpoch(storage, { log, clock }),
    queue: {
      publishResult: () => Promise.resolve(),
      publishLogRow: (_source, row, shared) => live(JSON.parse(shared + row) as LogLine),
      publishProgress: () => undefined,
    },
    identity: { worker: 'w1', namespace: 'default', inherited },
    budget: new LiveBudget(1_000_000, () => clock.monotonicMs()),
    uid: process.getuid?.() ?? 0,
  });

  async function inputOf(input: BenchInput) {
    const { name, tree, emptyFiles, lazy } = input;
    const node = await storage.trees.lookup(tree, input.path === '/' ? '' : input.path, wait);
    if (!node) throw new Error(`no ${input.path}`);
    const at = { name, repo: name, branch: 'master', commit: 'c0ffee', path: input.path };
    return {
      ...at,
      node: encodeNode(node).toString('base64'),
      ...(emptyFiles ? { emptyFiles } : {}),
      ...(lazy ? { lazy } : {}),
    };
  }

  async function task(spec: BenchTask): Promise<TaskMessage> {
    const datums: WorkDatum[] = [];
    for (const [index, inputs] of spec.datums.entries()) {
      const id = createHash('sha256').update(String(index)).digest('hex');
      datums.push({ index, id, tag: `0000${id}`, inputs: await Promise.all(inputs.map(inputOf)) });
    }
    const job: JobSpec = {
      ...JOB_SPEC,
      ...limits(spec),
      transform: { ...TRANSFORM, ...spec.transform },
    };
    return {
      ...{ pipeline: 'p', job: JOB, version: 1, task: 0, attempt: 1, from: 0, to: datums.length },
      spec: await storage.putJson(job, wait),
      segment: await storage.putJson(datums, wait),
    };
  }

  async function content(of: FileContent): Promise<string> {
    const chunks: Buffer[] = [];
    for await (const bytes of storage.read(of, wait)) chunks.push(bytes);
    return Buffer.concat(chunks).toString('latin1');
  }

  async function show(into: Record<string, string>, at: string, node: TreeNode): Promise<void> {
    if (node.type === 'file') into[at] = await content(node);
    else {
      for await (const below of storage.trees.walk(node, '', wait)) {
        if (below.node.type === 'file') into[at + below.path] = await content(below.node);
      }
    }
  }

  async function outputs({ result }: BenchRun): Promise<Record<string, string>[]> {
    const all: Record<string, string>[] = [];
    if (result.run === undefined) return all;
    for await (const op of readRun(
      storage,
      runFromText(result.run),
      wait,
    ) as AsyncIterable<RunOp>) {
      const one = (all[op.seq] ??= {});
      if (op.op === 'append') one[op.path] = await content(op.content);
      else if (op.op === 'mkdir') one[op.path] = '(mkdir)';
      else if (op.op === 'graft') await show(one, op.path, op.node);
    }
    return all;
  }

  async function logBytes({ result }: BenchRun): Promise<Buffer> {
    return storage.getObject(refFromText(result.log ?? ''), wait);
  }

  async function lines(run: BenchRun): Promise<LogLine[]> {
    const text = (await inflate(await logBytes(run))).toString();
    return [...linesOf(text)];
  }

  return {
    slotDir: files.dir,
    storeDir: join(dir.path, 'store'),
    isolation,
    outputs,
    lines,
    logBytes,
    storage,

    async tree(entries: Record<string, string>): Promise<DirNode> {
      const writer = storage.newWriter(wait);
      const ops: RunOp[] = [];
      for (const [name, text] of Object.entries(entries)) {
        const bytes = Buffer.from(text);
        ops.push({ op: 'set', path: `/${name}`, seq: 0, content: await writer.writeBytes(bytes) });
      }
      await writer.flush(wait);
      const { writeRun } = await import('../../storage/run.js');
      const run = await writeRun(storage, ops, wait);
      return storage.trees.apply(undefined, [run], { ...wait, ordinal: 1, mode: 'put' });
    },

    task,

    async run(
      spec: BenchTask,
      options: {
        signal?: AbortSignal;
        onLive?: (line: LogLine) => void;
        gpus?: readonly string[];
      } = {},
    ): Promise<BenchRun> {
      const live: LogLine[] = [];
      const publish = (line: LogLine): void => {
        live.push(line);
        if (line.user) options.onLive?.(line);
      };
      const signal = options.signal ?? NEVER;
      const slot = { index: 0, files };
      const message = await task(spec);
      const result = await runTask(deps(publish), message, {
        slot,
        signal,
        gpus: options.gpus,
        onLive: () => undefined,
      });
      return { result, live };
    },

    async output(run: BenchRun): Promise<Record<string, string>> {
      return (await outputs(run))[0] ?? {};
    },

    /** The output tree that the task alone makes. */
    async merged({ result }: BenchRun): Promise<Record<string, string>> {
      const run = runFromText(result.run ?? '');
      const root = await storage.trees.apply(undefined, [run], {
        ...wait,
        ordinal: 2,
        mode: 'merge',
      });
      const all: Record<string, string> = {};
      await show(all, '', root);
      return all;
    },

    async details({ result }: BenchRun): Promise<readonly DatumResult[]> {
      return (await storage.getJson<TaskDetails>(result.details, wait)).datums;
    },

    async userLines(run: BenchRun): Promise<string[]> {
      return (await lines(run)).filter(({ user }) => user).map(({ message }) => message);
    },

    sha: (text: string) => createHash('sha256').update(Buffer.from(text, 'latin1')).digest('hex'),

    /** Command lines of living processes that match. */
    processes(pattern: RegExp): string[] {
      return readdirSync('/proc')
        .filter((name) => /^\d+$/.test(name))
        .map((pid) => commandLine(pid))
        .filter((line) => pattern.test(line) && !line.includes('vitest'));
    },

    async [Symbol.asyncDispose](): Promise<void> {
      await spawner[Symbol.asyncDispose]();
      await storage[Symbol.asyncDispose]();
      await dir[Symbol.asyncDispose]();
    },
  };
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

function limits({
  transform: _,
  datums: __,
  datumTries = 1,
  datumTimeoutMs = 0,
  ...more
}: BenchTask) {
  return { datumTries, datumTimeoutMs, ...more };
}

const TRANSFORM: WorkTransform = {
  image: '',
  cmd: [],
  stdin: [],
  env: {},
  acceptReturnCode: [],
  errCmd: [],
  errStdin: [],
  user: '',
  workingDir: '',
};

const JOB_SPEC: JobSpec = {
  pipeline: 'p',
  version: 1,
  job: JOB,
  epoch: 7,
  transform: TRANSFORM,
  inputNames: ['in'],
  outputRepo: 'p',
  outputBranch: 'master',
  outputCommit: 'outcommit',
  specCommit: 'speccommit',
  datumTries: 1,
  datumTimeoutMs: 0,
};
