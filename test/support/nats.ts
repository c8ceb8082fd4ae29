/** A real nats-server with JetStream, for tests. */
import { rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort } from './free-port.js';
import { ServerProcess } from './server-process.js';
import { tempDir } from './temp-dir.js';
import { until } from './until.js';

export interface NatsServer extends AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly url: string;
  readonly port: number;
  readonly process: ServerProcess;
  kill9(): Promise<void>;
  stop(): Promise<void>;
  restart(): Promise<void>;
  pause(): void;
  resume(): void;
  /** Removes everything it has stored; only while it does not run. */
  wipe(): Promise<void>;
}

export async function startNats(): Promise<NatsServer> {
  const dir = await tempDir('nats');
  const store = join(dir.path, 'store');
  const port = await freePort();
  const server = new ServerProcess({
    command: 'nats-server',
    package: 'nats-server',
    logFile: join(dir.path, 'nats.log'),
    args: ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', store],
    ready: async () => {
      await until('nats-server answers', () => greets(port));
    },
  });
  const dispose = async (): Promise<void> => {
    await server[Symbol.asyncDispose]();
    await dir[Symbol.asyncDispose]();
  };
  await server.start().catch(async (error: unknown) => {
    await dispose();
    throw error;
  });
  return {
    url: `127.0.0.1:${port}`,
    port,
    process: server,
    kill9: () => server.kill9(),
    stop: () => server.stop(),
    restart: () => server.restart(),
    pause: () => server.pause(),
    resume: () => server.resume(),
    wipe: () => rm(store, { recursive: true, force: true }),
    [Symbol.asyncDispose]: dispose,
  };
}

/** True when the port sends NATS's first line. */
async function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.setTimeout(1_000, () => socket.destroy());
    socket.once('data', (bytes) => {
      resolve(bytes.toString().startsWith('INFO'));
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}
