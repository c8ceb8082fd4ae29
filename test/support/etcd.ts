/** A real etcd of one member, for tests. */
import { join } from 'node:path';
import { freePort } from './free-port.js';
import { ServerProcess } from './server-process.js';
import { tempDir } from './temp-dir.js';
import { until } from './until.js';

export interface EtcdServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly process: ServerProcess;
  kill9(): Promise<void>;
  stop(): Promise<void>;
  /** Same port, same data. */
  restart(): Promise<void>;
  pause(): void;
  resume(): void;
}

/** Starts etcd with the flags that the unit files use. `fsync: false` is for speed, not for faults. */
export async function startEtcd(o: { fsync?: boolean } = {}): Promise<EtcdServer> {
  const dir = await tempDir('etcd');
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const server = new ServerProcess({
    command: 'etcd',
    package: 'etcd-server',
    logFile: join(dir.path, 'etcd.log'),
    args: [
      ...['--name', 'test', '--data-dir', join(dir.path, 'data')],
      ...['--listen-client-urls', url, '--advertise-client-urls', url],
      ...['--listen-peer-urls', `http://127.0.0.1:${await freePort()}`],
      ...['--max-txn-ops', '8192', '--max-request-bytes', '8388608'],
      ...['--log-level', 'warn'],
      ...(o.fsync === false ? ['--unsafe-no-fsync'] : []),
    ],
    ready: async () => {
      await until('etcd is healthy', async () => (await fetch(`${url}/health`)).ok);
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
    url,
    port,
    process: server,
    kill9: () => server.kill9(),
    stop: () => server.stop(),
    restart: () => server.restart(),
    pause: () => server.pause(),
    resume: () => server.resume(),
    [Symbol.asyncDispose]: dispose,
  };
}
