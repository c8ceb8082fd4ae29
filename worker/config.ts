/** The worker's command line. */
import { availableParallelism, hostname, totalmem } from 'node:os';
import { isAbsolute } from 'node:path';
import { parseArgs } from 'node:util';
import { invalidInput } from '../core/errors.js';
import type { Isolation } from './spawner-protocol.js';

export interface WorkerConfigFile {
  readonly addresses: readonly string[];
  readonly slots: number;
  readonly dataDir: string;
  readonly logFile: string | undefined;
  readonly logLevel: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Forced kind of isolation; undefined = the strongest that works here. */
  readonly isolation: Isolation | undefined;
  readonly cacheBytes: number;
  readonly host: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  /** Ids as CUDA_VISIBLE_DEVICES takes them; undefined = look for devices. */
  readonly gpus: readonly string[] | undefined;
  /** Datums that may use one GPU at once. */
  readonly gpuShare: number;
  /** What runs container images; `auto` = podman or docker, whichever answers. */
  readonly engine: Engine;
  /** File with the image table (docs/worker.md). */
  readonly imagesFile: string | undefined;
  /** host:port of the metrics; undefined = none. */
  readonly metricsListen: string | undefined;
  /** Passed on to user code. */
  readonly inherited: Readonly<Record<string, string>>;
}

export type Engine = 'auto' | 'podman' | 'docker' | 'none';

const ENGINES: readonly string[] = ['auto', 'podman', 'docker', 'none'];
const GIB = 1024 ** 3;
const CACHE_GIB = 10;
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** What user code may know of the worker's own environment. */
const INHERITED = ['PATH', 'LANG', 'LC_ALL', 'LC_CTYPE', 'TZ'];
const LEVELS: readonly string[] = ['trace', 'debug', 'info', 'warn', 'error'];
const KINDS: readonly string[] = ['bwrap', 'unshare', 'plain'];

/** Reads the command line; INVALID_INPUT names the flag. */
export function readConfig(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): WorkerConfigFile {
  const values = parse(argv);
  const addresses = (values.join ?? '').split(',').filter((address) => address !== '');
  if (addresses.length === 0) {
    throw invalidInput('--join HOST:PORT[,HOST:PORT] is needed: the coordinators to work for');
  }
  for (const address of addresses) {
    if (!/^[^\s:]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$/.test(address)) {
      throw invalidInput(`--join ${address}: expected HOST:PORT, like 10.0.0.5:30650`);
    }
  }
  const dataDir = values['data-dir'] ?? '';
  if (!isAbsolute(dataDir)) throw invalidInput('--data-dir DIR is needed, as an absolute path');
  const isolation = values.isolation;
  if (isolation !== undefined && !KINDS.includes(isolation)) {
    throw invalidInput(`--isolation ${isolation}: expected ${KINDS.join(', ')}`);
  }
  const engine = values.engine ?? env['TUSK_CONTAINER_ENGINE'] ?? 'auto';
  if (!ENGINES.includes(engine)) {
    throw invalidInput(`--engine ${engine}: expected ${ENGINES.join(', ')}`);
  }
  return {
    addresses,
    dataDir,
    slots: number('slots', values.slots ?? String(availableParallelism()), 1, 1024),
    logFile: values['log-file'],
    logLevel: logLevel(values['log-level'] ?? 'info'),
    labels: labels(values.label ?? []),
    isolation: isolation as Isolation | undefined,
    gpus: values.gpus === undefined ? undefined : gpuIds(values.gpus),
    gpuShare: Math.floor(number('gpu-share', values['gpu-share'] ?? '1', 1, 1024)),
    engine: engine as Engine,
    imagesFile: values.images,
    metricsListen: values.metrics === undefined ? undefined : listenAt(values.metrics),
    cacheBytes: number('cache-gib', values['cache-gib'] ?? String(CACHE_GIB), 0.1, 1e6) * GIB,
    host: hostname(),
    cpus: availableParallelism(),
    memoryBytes: totalmem(),
    inherited: inheritedOf(env),
  };
}

/** What user code inherits of the environment around it. */
export function inheritedOf(
  env: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  const pairs = INHERITED.flatMap((name) => {
    const value = env[name] ?? (name === 'PATH' ? PATH : undefined);
    return value === undefined ? [] : [[name, value] as const];
  });
  return Object.fromEntries(pairs);
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        join: { type: 'string' },
        slots: { type: 'string' },
        'data-dir': { type: 'string' },
        'log-file': { type: 'string' },
        'log-level': { type: 'string' },
        'cache-gib': { type: 'string' },
        isolation: { type: 'string' },
        gpus: { type: 'string' },
        'gpu-share': { type: 'string' },
        engine: { type: 'string' },
        images: { type: 'string' },
        metrics: { type: 'string' },
        label: { type: 'string', multiple: true },
      },
    }).values;
  } catch (error) {
    throw invalidInput(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

function number(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= min && value <= max)) {
    throw invalidInput(`--${name} ${text}: expected a number from ${min} to ${max}`);
  }
  return name === 'slots' ? Math.floor(value) : value;
}

/** `HOST:PORT`, or a port on all addresses. */
function listenAt(text: string): string {
  const listen = /^\d+$/.test(text) ? `0.0.0.0:${text}` : text;
  const port = Number(/^\S+:(\d{1,5})$/.exec(listen)?.[1] ?? -1);
  if (port >= 0 && port <= 65_535) return listen;
  throw invalidInput(`--metrics ${text}: expected [HOST:]PORT, like 9090`);
}

function logLevel(text: string): string {
  if (LEVELS.includes(text)) return text;
  throw invalidInput(`--log-level ${text}: expected ${LEVELS.join(', ')}`);
}

/** `0,1,2`, ids of the driver, or `none`. */
function gpuIds(text: string): string[] {
  if (text === 'none' || text === '') return [];
  const ids = text.split(',').map((id) => id.trim());
  const bad = ids.find((id) => !/^[A-Za-z0-9_:.-]+$/.test(id));
  if (bad !== undefined) throw invalidInput(`--gpus ${text}: expected ids like 0,1,2`);
  if (new Set(ids).size < ids.length) throw invalidInput(`--gpus ${text}: names a GPU twice`);
  return ids;
}

function labels(list: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    list.map((text) => {
      const at = text.indexOf('=');
      if (at < 1) throw invalidInput(`--label ${text}: expected KEY=VALUE`);
      return [text.slice(0, at), text.slice(at + 1)] as const;
    }),
  );
}
