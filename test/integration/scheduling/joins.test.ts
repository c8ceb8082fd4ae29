/** Workers that come, drain, stand still and go. */
import { beforeEach, describe, expect, it } from 'vitest';
import { NEVER } from '../../../core/signals.js';
import { WorkerHello, type JoinEvent, type JoinRequest } from '../../../proto/generated/tusk.js';
import { until } from '../../support/until.js';
import { schedulingServers, type Coordinator, type SchedulingStack } from './stack.js';

const wait = { signal: NEVER };
const LEASE_MS = 500;
const servers = schedulingServers();
let stack: SchedulingStack;
let at: Coordinator;

beforeEach(async () => {
  stack = await servers.stack();
  at = await stack.coordinator({ leaseMs: LEASE_MS });
});

function hello(workerId: string): JoinRequest {
  return { hello: WorkerHello.fromPartial({ workerId, host: 'here', slots: 1 }) };
}

/** Joins with what the worker says; resolves when the coordinator has ended the stream. */
async function join(says: AsyncIterable<JoinRequest>): Promise<JoinEvent[]> {
  const events: JoinEvent[] = [];
  try {
    for await (const event of at.scheduler.join(says, wait)) events.push(event);
  } catch {
    // The coordinator gave the worker up.
  }
  return events;
}

const workers = (): string[] => at.scheduler.workers().map(({ worker }) => worker);
const joined = (): string[] => at.scheduler.joined().map((one) => one.hello.workerId);

describe('a worker', () => {
  it('that stands still without closing its stream is given up', async () => {
    const stands = join(
      (async function* () {
        yield hello('frozen');
        await new Promise(() => undefined);
      })(),
    );
    await until('it is there', () => workers().includes('frozen'));
    await stands;
    await until('it is gone', () => !workers().includes('frozen'));
    expect(joined()).toEqual([]);
  });

  it.each([0, 1, 5, 20])('that drains and goes after %i ms is gone', async (ms) => {
    await join(
      (async function* () {
        yield hello('drained');
        await until('it is there', () => workers().includes('drained'));
        yield { draining: true };
        await new Promise((resolve) => setTimeout(resolve, ms));
      })(),
    );
    await until('it is gone', () => !workers().includes('drained'));
    expect(joined()).toEqual([]);
  });

  it('that drains is shown as draining', async () => {
    let go = (): void => undefined;
    const left = join(
      (async function* () {
        yield hello('drains');
        yield { draining: true };
        await new Promise<void>((resolve) => (go = resolve));
      })(),
    );
    await until('it drains', () => at.scheduler.workers().some((one) => one.draining));
    go();
    await left;
  });

  it('that joins again while its old stream is still open stays', async () => {
    let end = (): void => undefined;
    const old = join(
      (async function* () {
        yield hello('again');
        await new Promise<void>((resolve) => (end = resolve));
      })(),
    );
    await until('it is there', () => workers().includes('again'));
    let leave = (): void => undefined;
    const next = join(
      (async function* () {
        yield hello('again');
        for (;;) {
          const left = await Promise.race([
            new Promise<boolean>((resolve) => (leave = () => resolve(true))),
            new Promise<boolean>((resolve) => setTimeout(() => resolve(false), LEASE_MS / 4)),
          ]);
          if (left) return;
          yield { heartbeat: { busySlots: 0, running: [] } };
        }
      })(),
    );
    end();
    await old;
    expect(workers()).toEqual(['again']);
    expect(joined()).toEqual(['again']);
    leave();
    await next;
    await until('it is gone', () => workers().length === 0);
  });
});
