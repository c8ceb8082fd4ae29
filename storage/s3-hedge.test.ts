import { describe, expect, it } from 'vitest';
import { addAbortListener, NEVER } from '../core/signals.js';
import { StepClock } from '../test/support/step-clock.js';
import { Hedges, sizeClass, type HedgedRead } from './s3-hedge.js';

/** A store whose answers a test gives. */
class Asked {
  readonly requests: {
    cancelled: boolean;
    readonly answer: (text: string) => void;
    readonly fail: (error: Error) => void;
  }[] = [];
  readonly dropped: string[] = [];
  hedged = 0;

  read(signal: AbortSignal = NEVER): HedgedRead<string> {
    return {
      signal,
      size: 'small',
      ask: (wait) =>
        new Promise<string>((answer, fail) => {
          const request = { cancelled: false, answer, fail };
          addAbortListener(wait.signal, () => {
            request.cancelled = true;
          });
          this.requests.push(request);
        }),
      again: () => (this.hedged += 1),
      isFinal: (error) => (error as Error).message === 'not found',
      drop: (late) => this.dropped.push(late),
    };
  }
}

/** Reads that are answered after `ms`, so that the p99 is known. */
async function usual(hedges: Hedges, clock: StepClock, ms: number, count = 64): Promise<void> {
  const ask = async (): Promise<string> => {
    await clock.sleep(ms, { signal: NEVER });
    return 'usual';
  };
  const reads = Array.from({ length: count }, () =>
    hedges.read({ ...new Asked().read(), ask, again: () => undefined }),
  );
  await clock.pass(ms);
  await Promise.all(reads);
}

describe('a hedged read', () => {
  it('is asked once when its answer comes in the usual time', async () => {
    const clock = new StepClock();
    const hedges = new Hedges(clock);
    const asked = new Asked();
    const read = hedges.read(asked.read());
    await clock.pass(900);
    asked.requests[0]?.answer('one');
    expect(await read).toBe('one');
    await clock.pass(60_000);
    expect(asked.requests).toHaveLength(1);
  });

  it('is asked again after the p99, takes the first answer and cancels the other request', async () => {
    const clock = new StepClock();
    const hedges = new Hedges(clock);
    await usual(hedges, clock, 300);
    expect(hedges.delayMs('small')).toBe(300);
    const asked = new Asked();
    const read = hedges.read(asked.read());
    await clock.pass(299);
    expect(asked.hedged).toBe(0);
    await clock.pass(1);
    expect(asked.hedged).toBe(1);
    asked.requests[1]?.answer('two');
    expect(await read).toBe('two');
    expect(asked.requests.map(({ cancelled }) => cancelled)).toEqual([true, false]);
    // An answer that was on its way already is thrown away.
    asked.requests[0]?.answer('one');
    await clock.pass(60_000);
    expect(asked.dropped).toEqual(['one']);
    expect(asked.requests).toHaveLength(2);
  });

  it('is asked a third time when the second request stalls too, and no more', async () => {
    const clock = new StepClock();
    const hedges = new Hedges(clock);
    const asked = new Asked();
    const read = hedges.read(asked.read());
    await clock.pass(60_000);
    expect(asked.requests).toHaveLength(3);
    asked.requests[0]?.answer('one');
    expect(await read).toBe('one');
    expect(asked.requests.map(({ cancelled }) => cancelled)).toEqual([false, true, true]);
  });

  it('waits for the other request when one fails for now, and takes an error that will stay', async () => {
    const clock = new StepClock();
    const hedges = new Hedges(clock);
    const passing = new Asked();
    const read = hedges.read(passing.read());
    await clock.pass(1_000);
    passing.requests[0]?.fail(new Error('slow down'));
    await clock.pass(10);
    passing.requests[1]?.answer('two');
    expect(await read).toBe('two');
    const lasting = new Asked();
    const missing = hedges.read(lasting.read());
    await clock.pass(1_000);
    lasting.requests[1]?.fail(new Error('not found'));
    await expect(missing).rejects.toThrow('not found');
    expect(lasting.requests[0]?.cancelled).toBe(true);
  });

  it('fails when its only request does: trying again is not its business', async () => {
    const asked = new Asked();
    const read = new Hedges(new StepClock()).read(asked.read());
    asked.requests[0]?.fail(new Error('slow down'));
    await expect(read).rejects.toThrow('slow down');
  });

  it('cancels all its requests when it is cancelled', async () => {
    const clock = new StepClock();
    const asked = new Asked();
    const stop = new AbortController();
    const read = new Hedges(clock).read(asked.read(stop.signal));
    await clock.pass(1_000);
    stop.abort(new Error('enough'));
    await expect(read).rejects.toThrow('enough');
    expect(asked.requests.map(({ cancelled }) => cancelled)).toEqual([true, true]);
  });

  it('leaves a store alone that is slow as a whole: one read in twenty is asked again', async () => {
    const clock = new StepClock();
    const hedges = new Hedges(clock);
    await usual(hedges, clock, 10);
    let hedged = 0;
    const ask = async (): Promise<string> => {
      await clock.sleep(5_000, { signal: NEVER });
      return 'slow';
    };
    for (let round = 0; round < 10; round += 1) {
      const again = (): void => void (hedged += 1);
      const reads = Array.from({ length: 100 }, () =>
        hedges.read({ ...new Asked().read(), ask, again }),
      );
      await clock.pass(5_000);
      await Promise.all(reads);
    }
    expect(hedged).toBeGreaterThan(10);
    expect(hedged).toBeLessThanOrEqual(10 + 1_000 / 20);
  });

  it('keeps the delay between 200 ms and 2 s, and by size', async () => {
    const clock = new StepClock();
    const hedges = new Hedges(clock);
    await usual(hedges, clock, 3);
    expect(hedges.delayMs('small')).toBe(200);
    expect(hedges.delayMs('large')).toBe(1_000);
    await usual(hedges, clock, 30_000, 512);
    expect(hedges.delayMs('small')).toBe(2_000);
    expect([sizeClass(1), sizeClass(100_000), sizeClass(5_000_000), sizeClass(undefined)]).toEqual([
      ...['small', 'medium', 'large', 'large'],
    ]);
  });
});
