/** put file goes on after its connection broke; what the server has received is not sent again. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { runCli, type CliResult } from '../support/cli-run.js';
import { startStack, type Stack } from '../support/stack.js';
import { until } from '../support/until.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

const MIB = 1 << 20;
let stack: Stack;
let proxy: TcpProxy;
let repos = 0;
let repo = '';

beforeAll(async () => {
  stack = await startStack({ workers: 0 });
});
afterAll(async () => stack[Symbol.asyncDispose]());
beforeEach(async () => {
  repo = `resumed${(repos += 1)}`;
  await stack.client.createRepo(repo);
  proxy = await startTcpProxy({ port: Number(stack.address.split(':')[1]) });
});
afterEach(async () => proxy[Symbol.asyncDispose]());

const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function put(args: string[], input?: string): Promise<CliResult> {
  const env = { HOME: stack.dir, PACHD_ADDRESS: `127.0.0.1:${proxy.port}` };
  return runCli(['put', 'file', ...args], { env, ...(input === undefined ? {} : { input }) });
}

async function hashes(): Promise<Record<string, string>> {
  const files = await stack.client.files(repo, 'master');
  return Object.fromEntries(
    Object.entries(files).map(([path, text]) => [path, sha(Buffer.from(text))]),
  );
}

it('a large file goes on in the middle', async () => {
  const bytes = Buffer.from(randomBytes(32 * MIB).toString('hex'));
  const from = join(stack.dir, 'large');
  writeFileSync(from, bytes);
  proxy.cutAt(48 * MIB);
  const { code, stderr } = await put([`${repo}@master:/large`, '-f', from]);
  expect(stderr).toMatch(/The connection broke off; trying to go on\.\nGoing on after 1 file\./);
  expect(code).toBe(0);
  // What was in the server's socket when it broke is lost with it.
  expect(proxy.bytesUp).toBeLessThan(bytes.length * 1.5);
  expect(await hashes()).toEqual({ '/large': sha(bytes) });
  expect(await stack.client.commits(repo)).toHaveLength(1);
});

it('a directory goes on between its files, each of them whole, as often as it takes', async () => {
  const dir = join(stack.dir, 'many');
  const expected: Record<string, string> = {};
  mkdirSync(dir);
  for (let i = 0; i < 400; i += 1) {
    const bytes = Buffer.from(randomBytes(i === 300 ? 2 * MIB : 20_000).toString('hex'));
    const name = `f${String(i).padStart(3, '0')}`;
    writeFileSync(join(dir, name), bytes);
    expected[`/m/${name}`] = sha(bytes);
  }
  proxy.cutAt(3 * MIB);
  const done = put(['-r', `${repo}@master:/m`, '-f', dir]);
  const { code, stderr } = await done;
  expect(stderr).toMatch(/Going on after \d+ files/);
  expect(code).toBe(0);
  expect(await hashes()).toEqual(expected);
  expect(await stack.client.commits(repo)).toHaveLength(1);
});

it('standard input goes on, split into lines', async () => {
  const lines = Array.from({ length: 200_000 }, (_, i) => `line ${i} of the input\n`).join('');
  proxy.cutAt(3 * MIB);
  const args = [
    `${repo}@master:/in`,
    '-f',
    '-',
    '--split',
    'line',
    '--target-file-datums',
    '50000',
  ];
  const { code, stderr } = await put(args, lines);
  expect(stderr).toMatch(/Going on after 1 file\./);
  expect(code).toBe(0);
  const files = await stack.client.files(repo, 'master');
  expect(Object.keys(files)).toHaveLength(4);
  expect(Object.values(files).join('')).toBe(lines);
});

it('everything is sent again to a server that has started anew', async () => {
  const bytes = Buffer.from(randomBytes(8 * MIB).toString('hex'));
  const from = join(stack.dir, 'again');
  writeFileSync(from, bytes);
  proxy.cutAt(6 * MIB, { refuse: true });
  const done = put([`${repo}@master:/again`, '-f', from]);
  await until('the connection is cut', () => proxy.bytesUp >= 6 * MIB);
  await stack.killCoordinator();
  await stack.restartCoordinator();
  proxy.resume();
  const { code, stderr } = await done;
  expect([code, stderr]).toEqual([0, expect.stringMatching(/sending everything again/)]);
  expect(await hashes()).toEqual({ '/again': sha(bytes) });
});
