/** A coordinator that is killed in the middle of a garbage collection. */
import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { codeOf, messageOf } from '../../core/errors.js';
import type { CollectProgress } from '../../proto/generated/tusk.js';
import { fromStatus } from '../../proto/status.js';
import { collect, openStackObjects, stored } from '../support/collect.js';
import { startStack, type Stack } from '../support/stack.js';
import { until } from '../support/until.js';

const FILES = 40;

it.each(['wait', 'mark', 'sweep'])('killed while it is to %s', async (phase) => {
  await using stack = await startStack({ workers: 0 });
  await using objects = await openStackObjects(stack);
  await stack.client.createRepo('data');
  const wanted = Object.fromEntries(
    Array.from({ length: FILES }, (_, i) => [`/f${i}`, randomBytes(2_000).toString('hex')]),
  );
  await stack.client.put('data', wanted);
  const before = await stored(objects);
  for (let i = 0; i < 5; i += 1) {
    await stack.client.put('data', { [`/gone${i}`]: randomBytes(800_000).toString('hex') });
  }
  for (let i = 0; i < 5; i += 1) await deleteHead(stack);

  await killedAt(stack, phase);
  // A coordinator that was killed is waited for until its leases end.
  const done = await until('a collection goes through', () => ended(stack), 60_000);
  expect(done).toMatchObject({ missingObjects: 0, heldBy: [] });
  const left = await stored(objects);
  expect([...before.keys()].filter((key) => !left.has(key))).toEqual([]);
  expect([...left.values()].filter((size) => size > 1_000_000)).toEqual([]);
  expect(await stack.client.files('data', 'master')).toEqual(wanted);
  expect((await stack.tusk(['fsck'])).stdout).toBe('No errors found.\n');
});

/** Collects, and kills the coordinator as soon as the phase is there, or as it ends. */
async function killedAt(stack: Stack, phase: string): Promise<void> {
  let killing: Promise<void> | undefined;
  const order = ['wait', 'mark', 'sweep'];
  const onProgress = (progress: CollectProgress): void => {
    if (order.indexOf(progress.phase) < order.indexOf(phase)) return;
    killing ??= stack.killCoordinator();
  };
  const outcome = await collect(stack.address, { onProgress }).catch((error: unknown) => error);
  await killing;
  // The last message may have been on its way already.
  if (outcome instanceof Error) expect(codeOf(fromStatus(outcome))).toBe('UNAVAILABLE');
  await stack.restartCoordinator();
}

async function ended(stack: Stack): Promise<CollectProgress | undefined> {
  try {
    return await collect(stack.address);
  } catch (error) {
    expect(messageOf(error)).toMatch(/running already|UNAVAILABLE/);
    return undefined;
  }
}

async function deleteHead(stack: Stack): Promise<void> {
  const { pfs } = stack.client;
  const commit = { repo: { name: 'data' }, id: 'master' };
  await stack.client.call(pfs.deleteCommit.bind(pfs), { commit });
}
