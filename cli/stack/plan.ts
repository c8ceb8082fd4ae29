/** What `tusk up` runs: checked settings, and the programs made from them. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { entryPath } from '../../core/entry.js';
import { AppError, invalidInput, messageOf, noSpace, notFound } from '../../core/errors.js';
import { makeDir } from '../../core/make-dir.js';
import { findProgram } from '../commands/output.js';
import type { Call } from '../grammar/command.js';
import type { Env } from '../session.js';
import type { PartSpec } from './part.js';
import { claimPort, freePort } from './ports.js';
import { doorSettings, doorWishes, openDoors, type DoorWish } from './side-doors.js';
import { natsGreets, until, untilJoined } from './ready.js';
import { dataDirOf } from './stack-file.js';
import { localDirs, type LocalDirs } from './local-dirs.js';

export interface StackSettings {
  readonly dataDir: string;
  readonly host: string;
  readonly port: number;
  readonly slots: number;
  readonly store: string;
  readonly doors: readonly DoorWish[];
  /** File with the worker's image table; '' = none. */
  readonly images: string;
  readonly dirs: LocalDirs;
}

export interface StackPorts {
  readonly grpc: number;
  readonly etcd: number;
  readonly etcdPeer: number;
  readonly nats: number;
}

export interface StackPlan {
  readonly settings: StackSettings;
  readonly ports: StackPorts;
  /** Address clients of this machine use. */
  readonly address: string;
  /** The same machine, without a port. */
  readonly local: string;
  /** Ports beside gRPC that are open now. */
  readonly openDoors: () => Record<string, number>;
  readonly etcd: PartSpec;
  readonly nats: PartSpec;
  readonly coordinator: PartSpec;
  readonly worker: PartSpec;
}

const LOOPBACK = '127.0.0.1';

/** Reads the flags of `tusk up`. Throws INVALID_INPUT with what to do. */
export function settingsOf(call: Call): StackSettings {
  const { session, flags } = call;
  const port = flags.number('port');
  if (port > 65_535) throw invalidInput(`--port must be at most 65535, got ${port}`);
  const slots = flags.given('workers') ? flags.number('workers') : availableParallelism();
  if (slots < 1) throw invalidInput('--workers must be at least 1');
  const dataDir = dataDirOf(flags.text('data-dir'), session.env['HOME']);
  const s3 = flags.text('s3');
  if (s3 !== '') checkS3(s3, session.env);
  const store = s3 === '' ? `dir://${join(dataDir, 'objects')}` : s3;
  const doors = doorWishes(call);
  const images = imagesFile(flags.text('images'));
  const dirs = localDirs(call);
  return { dataDir, host: flags.text('host'), port, slots, store, doors, images, dirs };
}

function imagesFile(name: string): string {
  if (name === '') return '';
  const file = resolve(name);
  if (!existsSync(file)) throw invalidInput(`--images ${name}: there is no such file`);
  return file;
}

function checkS3(url: string, env: Env): void {
  if (!/^s3:\/\/[^/?]+/.test(url)) {
    throw invalidInput(
      `--s3 must look like s3://bucket/prefix?endpoint=http://host:port&region=us-east-1, got ${url}`,
    );
  }
  if (!env['AWS_ACCESS_KEY_ID'] || !env['AWS_SECRET_ACCESS_KEY']) {
    throw invalidInput(
      'the S3 store needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
    );
  }
}

/** Finds the servers, claims ports, makes directories and config files. */
export async function planStack(call: Call, settings: StackSettings): Promise<StackPlan> {
  const { host } = settings;
  const programs = findServers(call);
  const grpc = await claimPort(host, settings.port);
  prepareDirs(settings);
  const ports: StackPorts = {
    grpc,
    etcd: await freePort(LOOPBACK),
    etcdPeer: await freePort(LOOPBACK),
    nats: await freePort(host),
  };
  const doors = await doorSettings(host, settings.doors);
  const local = isEverywhere(host) ? LOOPBACK : host;
  const address = `${local}:${grpc}`;
  return {
    settings,
    ports,
    address,
    local,
    openDoors: () => openDoors(readyFileOf(settings)),
    etcd: etcdPart(call, settings, { command: programs.etcd, ports }),
    nats: natsPart(call, settings, { command: programs.nats, local, port: ports.nats }),
    coordinator: coordinatorPart(call, settings, { ports, doors }),
    worker: workerPart(call, settings, address),
  };
}

function isEverywhere(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

function findServers(call: Call): { etcd: string; nats: string } {
  const etcd = findProgram(call.session, 'etcd');
  const nats = findProgram(call.session, 'nats-server');
  if (etcd && nats) return { etcd, nats };
  const missing = [...(etcd ? [] : ['etcd']), ...(nats ? [] : ['nats-server'])];
  const packages = [...(etcd ? [] : ['etcd-server']), ...(nats ? [] : ['nats-server'])];
  const sudo = process.getuid?.() === 0 ? '' : 'sudo ';
  const them = missing.length > 1 ? 'them' : 'it';
  const how = findProgram(call.session, 'apt-get')
    ? `Install ${them} with:\n  ${sudo}apt-get install -y --no-install-recommends ${packages.join(' ')}`
    : `Install ${them} with your package manager, or from https://etcd.io and https://nats.io, and put ${them} on PATH.`;
  throw notFound(`${missing.join(' and ')} not found on this machine\n${how}`);
}

const FOLDERS = ['etcd', 'nats', 'coordinator', 'worker', 'logs', 'objects'];

/** Data directories; refuses a store other than the one the data was written with. */
function prepareDirs({ dataDir, store }: StackSettings): void {
  try {
    for (const name of FOLDERS) makeDir(join(dataDir, name), 0o700);
    const known = existsSync(storeFile(dataDir)) && readFileSync(storeFile(dataDir), 'utf8').trim();
    if (known && known !== store) {
      throw invalidInput(
        `${dataDir} keeps its bytes in ${known}, not in ${store}\n` +
          'Start it as before, or choose another --data-dir.',
      );
    }
  } catch (error) {
    throw dataDirError(dataDir, error);
  }
}

function storeFile(dataDir: string): string {
  return join(dataDir, 'store');
}

/** From the first successful start on a data directory belongs to one object store. */
export function rememberStore({ dataDir, store }: StackSettings): void {
  writeFileSync(storeFile(dataDir), `${store}\n`);
}

/** A data directory that can not be used, with a next step. */
export function dataDirError(dataDir: string, error: unknown): AppError {
  if (error instanceof AppError) return error;
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return noSpace(`no space left for ${dataDir}\nFree some space, or choose another --data-dir.`);
  }
  return invalidInput(
    `cannot use the data directory ${dataDir}: ${messageOf(error)}\nChoose another one with --data-dir.`,
  );
}

type Common = Pick<PartSpec, 'name' | 'cwd' | 'output' | 'log' | 'env'>;

/** Our own programs write a log of their own beside what they print; the others only print. */
function common(call: Call, { dataDir }: StackSettings, name: string, own: boolean): Common {
  const output = join(dataDir, 'logs', own ? `${name}.out` : `${name}.log`);
  const log = join(dataDir, 'logs', `${name}.log`);
  return { name, cwd: dataDir, output, log, env: call.session.env };
}

function etcdPart(
  call: Call,
  settings: StackSettings,
  at: { command: string; ports: StackPorts },
): PartSpec {
  const url = `http://${LOOPBACK}:${at.ports.etcd}`;
  const peer = `http://${LOOPBACK}:${at.ports.etcdPeer}`;
  return {
    ...common(call, settings, 'etcd', false),
    command: at.command,
    args: [
      ...['--name', 'tusk', '--data-dir', join(settings.dataDir, 'etcd')],
      ...['--listen-client-urls', url, '--advertise-client-urls', url],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', `tusk=${peer}`],
      ...['--max-txn-ops', '8192', '--max-request-bytes', '8388608'],
      ...['--quota-backend-bytes', '8589934592'],
      ...['--auto-compaction-mode', 'periodic', '--auto-compaction-retention', '1h'],
      ...['--log-level', 'warn'],
    ],
    port: at.ports.etcd,
    graceMs: 10_000,
    ready: (signal) =>
      until(call.session.clock, signal, async () => {
        const answer = await fetch(`${url}/health`, { signal });
        return answer.ok && (await answer.text()).includes('true');
      }),
  };
}

function natsPart(
  call: Call,
  settings: StackSettings,
  at: { command: string; local: string; port: number },
): PartSpec {
  return {
    ...common(call, settings, 'nats', false),
    command: at.command,
    args: [
      ...['-a', settings.host, '-p', String(at.port)],
      ...['-js', '-sd', join(settings.dataDir, 'nats')],
    ],
    port: at.port,
    graceMs: 10_000,
    ready: (signal) => until(call.session.clock, signal, () => natsGreets(at.local, at.port)),
  };
}

function readyFileOf({ dataDir }: StackSettings): string {
  return join(dataDir, 'coordinator.ready.json');
}

function coordinatorPart(
  call: Call,
  settings: StackSettings,
  { ports, doors }: { readonly ports: StackPorts; readonly doors: Record<string, unknown> },
): PartSpec {
  const { dataDir, host, store } = settings;
  const base = common(call, settings, 'coordinator', true);
  const local = isEverywhere(host) ? LOOPBACK : host;
  const readyFile = readyFileOf(settings);
  const configFile = join(dataDir, 'coordinator.json');
  const config = {
    listen: `${host}:${ports.grpc}`,
    ...doors,
    ...settings.dirs,
    etcd: [`http://${LOOPBACK}:${ports.etcd}`],
    nats: `nats://${local}:${ports.nats}`,
    // 0.0.0.0 stands for the host that a worker joined.
    natsForWorkers: `nats://${isEverywhere(host) ? '0.0.0.0' : host}:${ports.nats}`,
    store,
    dataDir: join(dataDir, 'coordinator'),
    logFile: base.log,
    readyFile,
  };
  writeFileSync(configFile, `${JSON.stringify(config, null, 2)}\n`);
  // What an earlier coordinator told is not true any more.
  rmSync(readyFile, { force: true });
  return {
    ...base,
    command: process.execPath,
    args: ['--enable-source-maps', entryPath('coordinator'), '--config', configFile],
    port: ports.grpc,
    graceMs: 20_000,
    ready: async (signal) => {
      rmSync(readyFile, { force: true });
      await until(call.session.clock, signal, () => Promise.resolve(existsSync(readyFile)));
    },
  };
}

function workerPart(call: Call, settings: StackSettings, address: string): PartSpec {
  const base = common(call, settings, 'worker', true);
  return {
    ...base,
    command: process.execPath,
    args: [
      ...['--enable-source-maps', entryPath('worker'), '--join', address],
      ...['--slots', String(settings.slots)],
      ...['--data-dir', join(settings.dataDir, 'worker'), '--log-file', base.log],
      ...(settings.images === '' ? [] : ['--images', settings.images]),
    ],
    port: undefined,
    graceMs: 20_000,
    ready: (signal) => untilJoined(call, address, signal),
  };
}
