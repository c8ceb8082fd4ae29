/** A process's way to the shared object store: every call takes a turn before and after. */
import type { ObjectInfo, ObjectStore } from '../../../storage/index.js';
import type { Process, Scheduler } from './scheduler.js';

export function turnStore(
  shared: ObjectStore,
  scheduler: Scheduler,
  process: Process,
): ObjectStore {
  const call = async <T>(work: () => Promise<T>): Promise<T> => {
    await scheduler.turn(process);
    const answer = await work();
    if (scheduler.chance(2)) await scheduler.turn(process);
    return answer;
  };
  return {
    place: shared.place,
    counts: shared.counts,
    put: (...args) => call(() => shared.put(...args)),
    get: (...args) => call(() => shared.get(...args)),
    head: (...args) => call(() => shared.head(...args)),
    // One by one: a sweep may be stopped anywhere.
    delete: async (keys, wait) => {
      for (const key of keys) await call(() => shared.delete([key], wait));
    },
    list: async function* (prefix, options): AsyncGenerator<ObjectInfo> {
      await scheduler.turn(process);
      for await (const info of shared.list(prefix, options)) yield info;
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}
