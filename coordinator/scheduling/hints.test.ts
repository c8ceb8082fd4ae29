import { expect, it } from 'vitest';
import type { Change } from '../meta/index.js';
import { Hints, type Watched } from './hints.js';

/** An informer whose changes a test makes. */
function view() {
  const subscribers = new Set<(changes: readonly Change<never>[]) => void>();
  return {
    subscribe: (callback: (changes: readonly Change<never>[]) => void) => {
      subscribers.add(callback);
      return () => subscribers.delete(callback);
    },
    tell: (changes: readonly object[]) => {
      for (const callback of subscribers) callback(changes as Change<never>[]);
    },
  };
}

function hints() {
  const views = {
    ...{ pipelines: view(), open: view(), workers: view() },
    ...{ running: view(), lives: view(), liveStates: view() },
  };
  const made = new Hints(views as unknown as Watched);
  const woken: string[] = [];
  const on = (pipeline: string) => made.on(pipeline, () => woken.push(pipeline));
  const take = (): string[] => woken.splice(0).sort();
  return { views, made, on, take };
}

it('wakes the pipelines that a change concerns, and no others', () => {
  const { views, on, take } = hints();
  const a = on('a');
  on('b').waitFor(['in', 'a']);
  on('c').waitFor(['in']);
  const cases: [view: keyof typeof views, change: object, woken: string[]][] = [
    ['pipelines', { key: 'pl/c' }, ['c']],
    ['open', { key: 'open/in/1', value: {} }, ['b', 'c']],
    ['open', { key: 'open/a/1' }, ['a', 'b']],
    ['open', { key: 'open/other/1', value: {} }, []],
    ['running', { key: 'jrun/1', value: { pipeline: 'c' } }, ['c']],
    ['running', { key: 'jrun/1', previous: { pipeline: 'c' } }, ['c']],
    // Who waits for its commits hears of more than it has to (H1).
    ['lives', { key: 'live/a', value: {} }, ['a', 'b']],
    ['liveStates', { key: 'ls/c', value: {} }, ['c']],
    ['workers', { key: 'wk/1', value: {} }, ['a', 'b', 'c']],
  ];
  for (const [name, change, expected] of cases) {
    views[name].tell([change]);
    expect([name, change, take()]).toEqual([name, change, expected]);
  }
  views.open.tell([]);
  expect(take()).toEqual(['a', 'b', 'c']);
  a[Symbol.dispose]();
  views.open.tell([{ key: 'open/a/2', value: {} }]);
  expect(take()).toEqual(['b']);
});

it('takes the place of what was waited for before', () => {
  const { views, on, take } = hints();
  const hint = on('p');
  hint.waitFor(['x', 'y']);
  hint.waitFor(['y', 'x']);
  hint.waitFor(['z']);
  for (const repo of ['x', 'y', 'z', 'p']) views.open.tell([{ key: `open/${repo}/1`, value: {} }]);
  expect(take()).toEqual(['p', 'p']);
});

it('finds open commits and running jobs by their pipeline', () => {
  const { views, made } = hints();
  views.open.tell([
    { key: 'open/p/1', value: { id: '1' } },
    { key: 'open/p/2', value: { id: '2' } },
    { key: 'open/q/3', value: { id: '3' } },
  ]);
  views.running.tell([{ key: 'jrun/7', value: { pipeline: 'p', job: '7' } }]);
  expect([...made.openOf('p').values()].map(({ id }) => id)).toEqual(['1', '2']);
  expect([...made.runningOf('p').values()].map(({ job }) => job)).toEqual(['7']);
  views.open.tell([{ key: 'open/p/1' }]);
  views.running.tell([{ key: 'jrun/7', previous: { pipeline: 'p', job: '7' } }]);
  expect([...made.openOf('p').keys()]).toEqual(['open/p/2']);
  expect(made.runningOf('p').size).toBe(0);
});
