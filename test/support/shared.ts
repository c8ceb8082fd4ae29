/** What all tests of a file share: made before the first one, taken down after the last. */
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { runCli, type CliResult } from './cli-run.js';
import { startEtcd, type EtcdServer } from './etcd.js';
import { PfsApi } from './pfs-api.js';
import { startStack, type Stack, type StackOptions } from './stack.js';
import { tempDir, type TempDir } from './temp-dir.js';
import { TransactionServer } from './transaction-server.js';

/** A stack; `use` is told of it when it answers, and may fill it. */
export function sharedStack(o: StackOptions, use: (stack: Stack) => unknown): void {
  let stack: Stack | undefined;
  beforeAll(async () => {
    stack = await startStack(o);
    await use(stack);
  });
  afterAll(() => stack?.[Symbol.asyncDispose]());
}

/** A stack without workers, and its API of files. */
export function sharedPfs(use: (pfs: PfsApi, stack: Stack) => unknown): void {
  let pfs: PfsApi | undefined;
  sharedStack({ workers: 0 }, async (stack) => {
    pfs = new PfsApi(stack.address);
    await use(pfs, stack);
  });
  afterAll(() => pfs?.close());
}

/** A server without workers, a directory for its user, and the command line with both. */
export interface CliServer {
  readonly server: TransactionServer;
  readonly dir: TempDir;
  readonly env: Record<string, string>;
  /** Runs a line, cut at its spaces. */
  readonly tusk: (line: string, input?: string) => Promise<CliResult>;
}

/** A fresh one for each test, on one etcd. */
export function cliServers(use: (made: CliServer) => unknown): void {
  let etcd: EtcdServer;
  let server: TransactionServer;
  let dir: TempDir;
  beforeAll(async () => {
    etcd = await startEtcd({ fsync: false });
  });
  afterAll(() => etcd[Symbol.asyncDispose]());
  beforeEach(async () => {
    server = await TransactionServer.open(etcd);
    dir = await tempDir('cli');
    const { path } = dir;
    const config = join(path, 'config.json');
    const env: Record<string, string> = {
      ...{ HOME: path, PACHD_ADDRESS: server.address, PACH_CONFIG: config },
    };
    const tusk = (line: string, input?: string): Promise<CliResult> =>
      runCli(line.split(' '), { env, ...(input === undefined ? {} : { input }) });
    await use({ server, dir, env, tusk });
  });
  afterEach(async () => {
    await server[Symbol.asyncDispose]();
    await dir[Symbol.asyncDispose]();
  });
}
