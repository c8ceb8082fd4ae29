/**
 * A whole Tusk of real processes on free ports: etcd, nats-server, a store (directory or S3), one
 * coordinator, workers. Each can be killed, frozen, stopped and started again.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ResourceStack } from '../../core/resource-stack.js';
import { startEtcd, type EtcdServer } from './etcd.js';
import { freePort } from './free-port.js';
import { startNats, type NatsServer } from './nats.js';
import { ServerProcess } from './server-process.js';
import { openStackClient, type StackClient } from './stack-client.js';
import { startSwift, type SwiftServer } from './swift.js';
import { tempDir } from './temp-dir.js';
import { until } from './until.js';

const ROOT = join(import.meta.dirname, '..', '..');
const CONFIG = 'coordinator-config.json';

export interface StackOptions {
  readonly store?: 'dir' | 's3';
  readonly workers?: number;
  /** Per worker. */
  readonly slots?: number;
  /** Where the coordinator finds etcd, in place of the server itself (a proxy). */
  readonly etcdThrough?: (server: EtcdServer) => Promise<string>;
  /** Where everybody finds the S3 server, in place of the server itself (a proxy). */
  readonly s3Through?: (server: SwiftServer) => Promise<string>;
  /** More settings of the coordinator, such as `s3Listen`. */
  readonly config?: Readonly<Record<string, unknown>>;
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Buffer;
  readonly signal?: AbortSignal;
  /** false: a failing command is an answer, not an error. */
  readonly check?: boolean;
}

export class Stack implements AsyncDisposable {
  readonly etcd: EtcdServer;
  readonly nats: NatsServer;
  readonly s3: SwiftServer | undefined;
  readonly dir: string;
  readonly port: number;
  readonly coordinator: ServerProcess;
  readonly workers: ServerProcess[] = [];
  readonly client: StackClient;
  readonly #own: ResourceStack;

  /** @internal Use `startStack`. */
  constructor(parts: {
    etcd: EtcdServer;
    nats: NatsServer;
    s3: SwiftServer | undefined;
    dir: string;
    port: number;
    coordinator: ServerProcess;
    client: StackClient;
    own: ResourceStack;
  }) {
    const { etcd, nats, s3, dir, port, coordinator, client, own } = parts;
    this.etcd = etcd;
    this.nats = nats;
    this.s3 = s3;
    this.dir = dir;
    this.port = port;
    this.coordinator = coordinator;
    this.client = client;
    this.#own = own;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** What the coordinator says about itself once it answers: its ports. */
  get ready(): {
    readonly port: number;
    readonly s3Port?: number;
    readonly httpPort?: number;
    readonly webhookPort?: number;
  } {
    return JSON.parse(readFileSync(join(this.dir, 'ready.json'), 'utf8')) as {
      readonly port: number;
    };
  }

  /** Kills the coordinator; `restartCoordinator` brings it back on the same port. */
  async killCoordinator(): Promise<void> {
    await this.coordinator.kill9();
  }

  async restartCoordinator(): Promise<void> {
    await this.coordinator.stop();
    rmSync(join(this.dir, 'ready.json'), { force: true });
    await this.coordinator.start();
  }

  /** Starts one more coordinator beside the first; returns when it answers. */
  async addCoordinator(): Promise<{ readonly address: string; readonly client: StackClient }> {
    const first = JSON.parse(readFileSync(join(this.dir, CONFIG), 'utf8')) as { dataDir: string };
    const port = await freePort();
    const dataDir = join(this.dir, `coordinator-${port}`);
    const config = {
      ...first,
      dataDir,
      listen: `127.0.0.1:${port}`,
      logFile: `${dataDir}.json`,
      readyFile: `${dataDir}-ready.json`,
      secretsKeyFile: join(first.dataDir, 'secrets.key'),
    };
    const configFile = `${dataDir}-config.json`;
    writeFileSync(configFile, JSON.stringify(config));
    const env = this.s3 ? credentialsOf(this.s3) : {};
    await this.#own.use(coordinatorProcess(configFile, config.readyFile, env)).start();
    const address = `127.0.0.1:${port}`;
    return { address, client: this.#own.use(openStackClient(address)) };
  }

  /** Starts one more worker; returns before it has joined. */
  async addWorker(
    o: { slots?: number; join?: string; args?: readonly string[] } = {},
  ): Promise<ServerProcess> {
    const name = `worker${this.workers.length}`;
    const worker = this.#own.use(
      new ServerProcess({
        command: process.execPath,
        package: 'nodejs',
        args: [
          join(ROOT, 'dist', 'worker.mjs'),
          ...['--join', o.join ?? this.address, '--slots', String(o.slots ?? 2)],
          ...['--data-dir', join(this.dir, name)],
          ...['--log-file', join(this.dir, `${name}.json`), '--log-level', 'debug'],
          ...(o.args ?? []),
        ],
        logFile: join(this.dir, `${name}.out`),
        ready: () => Promise.resolve(),
      }),
    );
    await worker.spawn();
    this.workers.push(worker);
    return worker;
  }

  /** Runs the command line against this stack. */
  async tusk(args: readonly string[], o: RunOptions = {}): Promise<Ran> {
    const child = spawn(join(ROOT, 'cli', 'bin', 'tusk'), args, {
      env: { ...process.env, HOME: this.dir, PACHD_ADDRESS: this.address, NO_COLOR: '1' },
      stdio: 'pipe',
      ...(o.signal ? { signal: o.signal } : {}),
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (bytes: Buffer) => out.push(bytes));
    child.stderr.on('data', (bytes: Buffer) => err.push(bytes));
    child.stdin.on('error', () => undefined);
    child.stdin.end(o.input);
    const code = await new Promise<number>((resolve) => {
      child.once('error', () => resolve(-1));
      child.once('close', (status) => resolve(status ?? -1));
    });
    const ran = {
      code,
      stdout: Buffer.concat(out).toString(),
      stderr: Buffer.concat(err).toString(),
    };
    if (code !== 0 && o.check !== false) {
      throw new Error(`tusk ${args.join(' ')} exited with ${code}: ${ran.stderr}${ran.stdout}`);
    }
    return ran;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#own[Symbol.asyncDispose]();
  }
}

/** Starts everything; returns when the coordinator answers. */
export async function startStack(o: StackOptions = {}): Promise<Stack> {
  const own = new ResourceStack();
  try {
    const dir = own.use(await tempDir('stack')).path;
    const [etcd, nats, s3] = await Promise.all([
      startEtcd(),
      startNats(),
      o.store === 's3' ? startSwift() : undefined,
    ]);
    own.use(etcd);
    own.use(nats);
    if (s3) own.use(s3);
    const s3Url = s3 && ((await o.s3Through?.(s3)) ?? s3.url);
    const port = await freePort();
    const ready = join(dir, 'ready.json');
    const configFile = join(dir, CONFIG);
    const config = {
      listen: `127.0.0.1:${port}`,
      etcd: [(await o.etcdThrough?.(etcd)) ?? etcd.url],
      nats: nats.url,
      store: s3
        ? s3.storeUrl.replace(encodeURIComponent(s3.url), encodeURIComponent(s3Url ?? s3.url))
        : `dir://${join(dir, 'store')}`,
      dataDir: join(dir, 'coordinator'),
      logFile: join(dir, 'coordinator.json'),
      logLevel: 'debug',
      readyFile: ready,
      ...o.config,
    };
    writeFileSync(configFile, JSON.stringify(config));
    const env = s3 ? credentialsOf(s3) : {};
    const coordinator = own.use(coordinatorProcess(configFile, ready, env));
    await coordinator.start();
    const client = own.use(openStackClient(`127.0.0.1:${port}`));
    const stack = new Stack({ etcd, nats, s3, dir, port, coordinator, client, own });
    for (let i = 0; i < (o.workers ?? 1); i += 1) await stack.addWorker({ slots: o.slots ?? 2 });
    return stack;
  } catch (error) {
    await own[Symbol.asyncDispose]();
    throw error;
  }
}

function coordinatorProcess(
  configFile: string,
  readyFile: string,
  env: NodeJS.ProcessEnv,
): ServerProcess {
  return new ServerProcess({
    command: process.execPath,
    package: 'nodejs',
    args: [join(ROOT, 'dist', 'coordinator.mjs'), '--config', configFile],
    env,
    logFile: configFile.replace('-config.json', '.out'),
    ready: async () => {
      await until('the coordinator answers', () => existsSync(readyFile), 60_000);
    },
  });
}

function credentialsOf({ accessKeyId, secretAccessKey }: SwiftServer): NodeJS.ProcessEnv {
  return { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey };
}
