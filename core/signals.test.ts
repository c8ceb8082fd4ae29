import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { childController, joinedController } from './signals.js';

describe('joinedController', () => {
  it('aborts with the first of its signals, and with its reason', async () => {
    const [a, b] = [new AbortController(), new AbortController()];
    const { signal } = joinedController([a.signal, b.signal]);
    expect(signal.aborted).toBe(false);
    b.abort(new Error('second'));
    a.abort(new Error('first'));
    expect(signal.reason).toEqual(new Error('second'));
  });

  it('is aborted from the beginning when one of them is', () => {
    const { signal } = joinedController([new AbortController().signal, AbortSignal.abort('gone')]);
    expect([signal.aborted, signal.reason]).toEqual([true, 'gone']);
  });
});

describe('controllers below a signal that lives long', () => {
  it.each([
    ['joined', (parent: AbortSignal) => joinedController([parent, new AbortController().signal])],
    ['child', childController],
  ])('leave nothing behind in it: %s', (_what, make) => {
    const parent = new AbortController();
    for (let i = 0; i < 100; i += 1) {
      using scope = make(parent.signal);
      expect(scope.signal.aborted).toBe(false);
    }
    expect(getEventListeners(parent.signal, 'abort')).toEqual([]);
  });
});
