import { describe, expect, it } from 'vitest';
import { NEVER } from '../core/signals.js';
import { StepClock } from '../test/support/step-clock.js';
import { Pace } from './s3-pace.js';

const wait = { signal: NEVER };

/** Asks as fast as the pace lets it, for a time; returns how many requests left. */
async function ask(
  pace: Pace,
  clock: StepClock,
  o: { ms: number; refused: (count: number) => boolean },
): Promise<number> {
  const stop = new AbortController();
  let count = 0;
  const asking = (async () => {
    // Without a limit: a request per millisecond.
    for (; !stop.signal.aborted; await clock.sleep(1, stop)) {
      await pace.take(stop);
      count += 1;
      pace.answered(o.refused(count) ? 'slow down' : 'other');
    }
  })().catch(() => undefined);
  await clock.pass(o.ms);
  stop.abort();
  await asking;
  return count;
}

const never = (): boolean => false;

describe('the pace of a prefix', () => {
  it('has no limit as long as nobody asks for one', async () => {
    const clock = new StepClock();
    const pace = new Pace(clock);
    expect(await ask(pace, clock, { ms: 3_000, refused: never })).toBeGreaterThan(2_900);
    expect(pace.rate).toBeUndefined();
  });

  it('is cut by half each second that only says slow down, and comes back step by step', async () => {
    const clock = new StepClock();
    const pace = new Pace(clock);
    await ask(pace, clock, { ms: 2_000, refused: never });
    await ask(pace, clock, { ms: 1_000, refused: () => true });
    const first = pace.rate as number;
    expect(first).toBeGreaterThan(400);
    const before = await ask(pace, clock, { ms: 5_000, refused: () => true });
    expect(before).toBeLessThan(2_500);
    const low = pace.rate as number;
    expect(low).toBeLessThan(100);
    await ask(pace, clock, { ms: 10_000, refused: never });
    expect(pace.rate).toBeGreaterThan(low * 1.5);
    expect(pace.rate).toBeLessThan(low * 2.5);
    await clock.pass(120_000);
    expect(pace.rate).toBeUndefined();
  });

  it('stays near what it was when one answer in ten says slow down, whatever the load', async () => {
    const clock = new StepClock();
    const pace = new Pace(clock);
    await ask(pace, clock, { ms: 1_000, refused: never });
    await ask(pace, clock, { ms: 60_000, refused: (count) => count % 10 === 0 });
    expect(pace.rate ?? 1_000).toBeGreaterThan(500);
  });

  it('never stops: one request a second gets through however long the trouble lasts', async () => {
    const clock = new StepClock();
    const pace = new Pace(clock);
    const count = await ask(pace, clock, { ms: 60_000, refused: () => true });
    expect(count).toBeGreaterThan(60);
    expect(pace.rate).toBeLessThan(4);
    expect(pace.rate).toBeGreaterThan(1);
  });

  it('serves who waits in order, and lets go of who gives up', async () => {
    const clock = new StepClock();
    const pace = new Pace(clock);
    pace.answered('slow down');
    const order: number[] = [];
    const giveUp = new AbortController();
    const all = [0, 1, 2, 3].map(async (number) => {
      await pace.take(number === 1 ? giveUp : wait);
      order.push(number);
    });
    const gone = expect(all[1]).rejects.toThrow('enough');
    giveUp.abort(new Error('enough'));
    await clock.pass(500);
    await Promise.all([all[0], gone, all[2], all[3]]);
    expect(order).toEqual([0, 2, 3]);
  });

  it('lets the others wait for a request that could not', async () => {
    const clock = new StepClock();
    const pace = new Pace(clock);
    pace.answered('slow down');
    for (let i = 0; i < 5; i += 1) pace.charge();
    let left = false;
    const waiting = pace.take(wait).then(() => (left = true));
    await clock.pass(50);
    expect(left).toBe(false);
    await clock.pass(20);
    await waiting;
    expect(left).toBe(true);
  });
});
