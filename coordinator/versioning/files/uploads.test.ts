import { describe, expect, it } from 'vitest';
import type { Clock } from '../../../core/clock.js';
import { addAbortListener, NEVER } from '../../../core/signals.js';
import { cancelled } from '../../../core/errors.js';
import type { PutItem } from './put-files.js';
import { Uploads, type UploadPosition } from './uploads.js';

/** Sleepers wake when the test says so. */
class HandClock implements Clock {
  now = 0;
  #sleepers: { at: number; wake: () => void }[] = [];
  wallMs = (): number => this.now;
  monotonicMs = (): number => this.now;
  sleep = (ms: number, { signal }: { signal: AbortSignal }): Promise<void> =>
    new Promise((resolve, reject) => {
      addAbortListener(signal, () => reject(signal.reason as Error));
      this.#sleepers.push({ at: this.now + ms, wake: resolve });
    });
  async pass(ms: number): Promise<void> {
    this.now += ms;
    for (const { at, wake } of this.#sleepers) if (at <= this.now) wake();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const file = (path: string, text: string): PutItem => ({
  file: { commit: { repo: 'r', id: 'm' }, path },
  value: Buffer.from(text),
  url: '',
  recursive: false,
  split: { delimiter: 'none', datums: 0, bytes: 0, headerRecords: 0 },
  delete: false,
});
const more = (text: string): PutItem => {
  const { file: _none, ...rest } = file('', text);
  return rest;
};

interface Bench {
  readonly uploads: Uploads;
  readonly clock: HandClock;
  /** What became visible. */
  readonly stored: Record<string, string>[];
  readonly aborted: string[];
  /** Sends items and then breaks the connection, or ends. */
  call(id: string, at: UploadPosition | undefined, items: PutItem[], end: boolean): Promise<void>;
}

function bench(options: { parkedMax?: number } = {}): Bench {
  const clock = new HandClock();
  const stored: Record<string, string>[] = [];
  const aborted: string[] = [];
  const uploads = new Uploads({
    ...options,
    clock,
    keepMs: 1_000,
    put: async (items) => {
      const files: Record<string, string> = {};
      let path = '';
      try {
        for await (const item of items) {
          if (item.file?.path === '/bad') throw new TypeError('bad path');
          path = item.file?.path ?? path;
          files[path] = (files[path] ?? '') + item.value.toString();
        }
      } catch (error) {
        aborted.push((error as Error).message);
        throw error;
      }
      stored.push(files);
    },
  });
  async function* connection(items: PutItem[], end: boolean): AsyncGenerator<PutItem> {
    yield* items;
    if (!end) throw cancelled('the upload broke off');
  }
  return {
    ...{ uploads, clock, stored, aborted },
    call: (id, at, items, end) =>
      uploads.feed(id, at, connection(items, end), { signal: NEVER, requestId: id }),
  };
}

const wait = { signal: NEVER };

describe('uploads', () => {
  it('go on where the connection broke, once and with every byte', async () => {
    const { uploads, call, stored } = bench();
    await expect(call('u', undefined, [file('/a', '12'), more('3')], false)).rejects.toThrow(
      /broke/,
    );
    expect(await uploads.resume('u', wait)).toEqual({
      files: 1,
      bytes: 3,
      path: '/a',
      done: false,
    });
    await expect(call('u', { files: 1, bytes: 3 }, [more('4')], false)).rejects.toThrow(/broke/);
    expect(stored).toEqual([]);
    await call('u', { files: 1, bytes: 4 }, [more('5'), file('/b', 'b')], true);
    expect(stored).toEqual([{ '/a': '12345', '/b': 'b' }]);
    expect(await uploads.resume('u', wait)).toMatchObject({ done: true });
    await call('other', undefined, [file('/c', 'c')], true);
    expect(stored).toHaveLength(2);
  });

  it('refuse to go on elsewhere, or with what nobody knows', async () => {
    const { uploads, call } = bench();
    await call('u', undefined, [file('/a', '12')], false).catch(() => undefined);
    await expect(call('u', { files: 1, bytes: 1 }, [], true)).rejects.toThrow(
      'goes on at 1/2, not at 1/1',
    );
    await expect(call('u', undefined, [], true)).rejects.toThrow('there is an upload u already');
    await expect(call('v', { files: 1, bytes: 2 }, [], true)).rejects.toThrow(/from its beginning/);
    await expect(uploads.resume('v', wait)).rejects.toThrow(/from its beginning/);
  });

  it('that nobody takes up again are aborted after a while', async () => {
    const { uploads, call, clock, stored, aborted } = bench();
    await call('u', undefined, [file('/a', '12')], false).catch(() => undefined);
    await clock.pass(999);
    expect(await uploads.resume('u', wait)).toMatchObject({ bytes: 2 });
    await clock.pass(999);
    expect(aborted).toEqual([]);
    await clock.pass(1);
    await expect(uploads.resume('u', wait)).rejects.toThrow(/not continued/);
    expect(aborted).toHaveLength(1);
    expect(stored).toEqual([]);
  });

  it('make room, the oldest first, when too many wait', async () => {
    const { uploads, call, clock, aborted } = bench({ parkedMax: 2 });
    for (const id of ['a', 'b', 'c']) {
      await clock.pass(1);
      await call(id, undefined, [file('/a', '1')], false).catch(() => undefined);
    }
    await expect(uploads.resume('a', wait)).rejects.toThrow(/too many others/);
    expect(await uploads.resume('b', wait)).toMatchObject({ files: 1 });
    expect(aborted).toHaveLength(1);
  });

  it('fail with their own error, also when it is asked for later', async () => {
    const { uploads, call, stored } = bench();
    await expect(call('u', undefined, [file('/bad', '')], true)).rejects.toThrow('bad path');
    await expect(uploads.resume('u', wait)).rejects.toThrow('bad path');
    await call('w', undefined, [file('/a', '1')], false).catch(() => undefined);
    await uploads.abandon('w');
    await expect(uploads.resume('w', wait)).rejects.toThrow(/from its beginning/);
    expect(stored).toEqual([]);
  });

  it('go to the last who asks: a call that is still open can bring nothing more', async () => {
    const { uploads, call, stored } = bench();
    let goOn = (): void => undefined;
    async function* slow(): AsyncGenerator<PutItem> {
      yield file('/a', '1');
      await new Promise<void>((resolve) => (goOn = resolve));
      yield more('late');
    }
    const first = uploads.feed('u', undefined, slow(), { signal: NEVER, requestId: 'u' });
    first.catch(() => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    expect(await uploads.resume('u', wait)).toMatchObject({ files: 1, bytes: 1 });
    goOn();
    await expect(first).rejects.toThrow(/another call/);
    await call('u', { files: 1, bytes: 1 }, [more('2')], true);
    expect(stored).toEqual([{ '/a': '12' }]);
  });

  it('end with the server', async () => {
    const { uploads, call, aborted } = bench();
    await call('u', undefined, [file('/a', '1')], false).catch(() => undefined);
    await uploads[Symbol.asyncDispose]();
    expect(aborted).toHaveLength(1);
  });
});
