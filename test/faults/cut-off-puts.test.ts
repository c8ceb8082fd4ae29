/** Uploads that are cut off anywhere, in any way, leave nothing behind. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileOf } from '../support/stack-client.js';
import { startStack, type Stack } from '../support/stack.js';
import { until } from '../support/until.js';

const TUSK = join(import.meta.dirname, '..', '..', 'cli', 'bin', 'tusk');
const MIB = Buffer.alloc(1 << 20, 'x');

let stack: Stack;

beforeAll(async () => {
  stack = await startStack({ workers: 0 });
  await stack.client.createRepo('in');
  await stack.client.put('in', { '/kept': 'kept' });
});
afterAll(async () => stack[Symbol.asyncDispose]());

/** The repo holds its first commit and nothing else. */
async function expectNothingNew(): Promise<void> {
  expect(await stack.client.files('in', 'master')).toEqual({ '/kept': 'kept' });
  expect(await stack.client.commits('in')).toHaveLength(1);
}

/** A later upload works, and by then nothing of the earlier ones may have come up. */
async function expectHealthy(): Promise<void> {
  await stack.client.createRepo('probe').catch(() => undefined);
  await stack.client.put('probe', { '/p': 'p' });
  await expectNothingNew();
}

describe('an upload that', () => {
  it.each([0, 1, 2, 5, 10, 20])('is cancelled after %i messages commits nothing', async (count) => {
    for (let round = 0; round < 5; round += 1) {
      const upload = stack.client.openPut();
      for (let i = 0; i < count; i += 1) {
        upload.write({ ...fileOf('in', `/cut${i}`), value: MIB.subarray(0, 1 + 50_000 * i) });
      }
      if (round % 2 === 1) await new Promise((resolve) => setImmediate(resolve));
      upload.cancel();
      await expect(upload.answer()).rejects.toThrow();
    }
    await expectHealthy();
  });

  it.each([1, 20, 100, 300])('runs out of %i ms commits nothing', async (deadlineMs) => {
    const upload = stack.client.openPut({ deadlineMs });
    upload.write({ ...fileOf('in', '/late'), value: MIB });
    await expect(upload.answer()).rejects.toThrow();
    await expectHealthy();
  });

  it('comes from a client that is killed commits nothing', async () => {
    for (const bytes of [1, 1 << 20, 20 << 20]) {
      const child = spawn(TUSK, ['put', 'file', 'in@master:/killed', '-f', '-'], {
        env: { ...process.env, HOME: stack.dir, PACHD_ADDRESS: stack.address },
        stdio: ['pipe', 'ignore', 'ignore'],
      });
      child.stdin.on('error', () => undefined);
      await new Promise<void>((resolve) =>
        child.stdin.write(Buffer.alloc(bytes, 'k'), () => resolve()),
      );
      child.kill('SIGKILL');
      await new Promise((resolve) => child.once('close', resolve));
    }
    await expectHealthy();
  });

  it('is interrupted with Ctrl-C commits nothing', async () => {
    const child = spawn(TUSK, ['put', 'file', 'in@master:/interrupted', '-f', '-'], {
      env: { ...process.env, HOME: stack.dir, PACHD_ADDRESS: stack.address },
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    child.stdin.on('error', () => undefined);
    await new Promise<void>((resolve) =>
      child.stdin.write(Buffer.alloc(4 << 20, 'i'), () => resolve()),
    );
    child.kill('SIGINT');
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    expect(code).not.toBe(0);
    await expectHealthy();
  });

  it('is under way when the coordinator is killed commits nothing', async () => {
    const upload = stack.client.openPut();
    for (let i = 0; i < 10; i += 1) upload.write({ ...fileOf('in', `/big`), value: MIB });
    await stack.killCoordinator();
    await expect(upload.answer()).rejects.toThrow();
    await stack.restartCoordinator();
    await until('the coordinator serves', () => expectHealthy().then(() => true));
  });
});
