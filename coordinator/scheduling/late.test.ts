import { describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { Late } from './late.js';

const wait = { signal: new AbortController().signal };

describe('late work', () => {
  it('is not begun when it is settled before its time', async () => {
    let begun = 0;
    const late = new Late(systemClock, 60_000, async () => void (begun += 1), wait);
    await late.settle();
    await late.settle();
    expect(begun).toBe(0);
  });

  it('comes to its end once it has begun, and throws what it throws', async () => {
    let began = (): void => undefined;
    let go = (): void => undefined;
    const begun = new Promise<void>((resolve) => (began = resolve));
    const gate = new Promise<void>((resolve) => (go = resolve));
    const work = async (): Promise<void> => {
      began();
      await gate;
      throw new Error('no space');
    };
    const late = new Late(systemClock, 0, work, wait);
    await begun;
    const settled = expect(late.settle()).rejects.toThrow('no space');
    go();
    await settled;
  });
});
