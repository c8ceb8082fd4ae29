import { describe, expect, it } from 'vitest';
import { NEVER } from '../../core/signals.js';
import { KeyedQueue } from './keyed-queue.js';

describe('keyed queue', () => {
  it('runs work of one key in order, of other keys side by side, and keeps no keys', async () => {
    const queue = new KeyedQueue();
    const wait = { signal: NEVER };
    const log: string[] = [];
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    const first = queue.run('a', wait, async () => {
      await gate;
      log.push('first');
    });
    const second = queue.run('a', wait, async () => void log.push('second'));
    await queue.run('b', wait, async () => void log.push('other'));
    const settled = queue.settled('a', wait).then(() => log.push('settled'));
    expect(queue.size).toBe(1);
    release();
    await Promise.all([first, second, settled]);
    expect(log).toEqual(['other', 'first', 'second', 'settled']);
    expect(queue.size).toBe(0);
  });

  it('goes on after work that failed or was cancelled while it waited', async () => {
    const queue = new KeyedQueue();
    const stop = new AbortController();
    const failing = queue.run('a', { signal: NEVER }, async () => {
      throw new Error('no');
    });
    const waiting = queue.run('a', { signal: stop.signal }, async () => 'never');
    stop.abort(new Error('enough'));
    await expect(failing).rejects.toThrow('no');
    await expect(waiting).rejects.toThrow('enough');
    expect(await queue.run('a', { signal: NEVER }, async () => 'on')).toBe('on');
    expect(queue.size).toBe(0);
  });
});
