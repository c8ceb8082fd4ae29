import { describe, expect, it } from 'vitest';
import { NEVER } from '../../core/signals.js';
import { Wakeups } from './wakeups.js';

describe('wake-ups', () => {
  it('checks again after each wake-up of its topic only', async () => {
    const wakeups = new Wakeups();
    let checks = 0;
    const done = wakeups.until('a', async () => (++checks === 3 ? 'yes' : undefined), {
      signal: NEVER,
    });
    await Promise.resolve();
    wakeups.wake('b');
    wakeups.wake('a');
    await new Promise(setImmediate);
    expect(checks).toBe(2);
    wakeups.wakeAll();
    expect(await done).toBe('yes');
    expect(wakeups.waiting).toBe(0);
  });

  it('does not lose a wake-up that comes during the check', async () => {
    const wakeups = new Wakeups();
    let checks = 0;
    const answer = await wakeups.until(
      'a',
      async () => {
        checks += 1;
        if (checks === 1) wakeups.wake('a');
        return checks === 2 ? checks : undefined;
      },
      { signal: NEVER },
    );
    expect(answer).toBe(2);
  });

  it('ends on cancel and forgets the waiter', async () => {
    const wakeups = new Wakeups();
    const stop = new AbortController();
    const done = wakeups.until('a', async () => undefined, { signal: stop.signal });
    await new Promise(setImmediate);
    expect(wakeups.waiting).toBe(1);
    stop.abort(new Error('enough'));
    await expect(done).rejects.toThrow('enough');
    expect(wakeups.waiting).toBe(0);
  });
});
