import { promisify } from 'node:util';
import { deflateRaw } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { sha256 } from '../../core/sha256.js';
import type { LogLine, TaskResult } from '../../queue/messages.js';
import { refToText } from '../../storage/refs.js';
import type { JobRecord } from '../pipelines/model.js';
import { readLogs, type LogDeps, type LogQuery } from './logs.js';
import { MASTER_TASK, type ResultsIndex } from './model.js';

const wait = { signal: new AbortController().signal };
const deflate = promisify(deflateRaw);
const HASH = sha256('content');

function line(task: number, number: number, more: Partial<LogLine> = {}): LogLine {
  const of = { pipeline: 'p', job: 'j', task, attempt: 0, line: number, worker: 'w' };
  const data = [{ path: `/f${task}`, hash: HASH.toString('base64') }];
  const message = `${task}.${number}`;
  return { ts: 1_000, ...of, datum: `d${task}`, user: true, message, data, ...more };
}

/** A job whose tasks have stored these lines; live lines come from `live`. */
async function world(
  tasks: readonly (readonly LogLine[])[],
  o: {
    live?: AsyncIterable<LogLine>;
    state?: () => string;
    master?: LogLine[];
    inHand?: LogLine[];
  } = {},
): Promise<LogDeps> {
  const objects = new Map<string, Buffer>();
  const results: TaskResult[] = [];
  for (const [task, lines] of tasks.entries()) {
    const bytes = await deflate(lines.map((each) => `${JSON.stringify(each)}\n`).join(''));
    const ref = { kind: 'blob', epoch: 1, digest: sha256(bytes), size: bytes.length } as const;
    objects.set(refToText(ref), bytes);
    results.push({ task, log: refToText(ref) } as TaskResult);
  }
  const index = { depth: 0, results, master: o.master ?? [] } as unknown as ResultsIndex;
  const job = (): Buffer => {
    const record = { id: 'j', pipeline: 'p', state: o.state?.() ?? 'SUCCESS', results: 'index' };
    return Buffer.from(JSON.stringify(record satisfies Partial<Record<keyof JobRecord, string>>));
  };
  return {
    meta: {
      get: async (key) => (key.startsWith('job/') ? { value: job() } : undefined),
      async *scan() {
        yield { value: job() };
      },
    },
    storage: {
      getObject: async (ref) => objects.get(refToText(ref)) as Buffer,
      getJson: async <T>() => index as T,
    },
    queue: {
      followLogs: () => o.live ?? each([]),
      askLines: async (_worker, { from }) => {
        const lines = (o.inHand ?? []).slice(from, from + 2);
        return lines.length > 0 ? { lines, next: from + lines.length } : { lines };
      },
    },
    running: async () =>
      o.inHand
        ? [{ worker: 'w', pipeline: 'p', job: 'j', task: 9, attempt: 0, datum: 'd9', startedMs: 0 }]
        : [],
    clock: systemClock,
    live: () => undefined,
  };
}

async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

async function read(deps: LogDeps, more: Partial<LogQuery> = {}): Promise<string[]> {
  const all = { filters: [], master: false, follow: false, tail: 0, sinceMs: 0 };
  const found: string[] = [];
  for await (const { message } of readLogs(deps, { pipeline: 'p', ...all, ...more }, wait)) {
    found.push(message);
  }
  return found;
}

describe('readLogs', () => {
  it('gives stored lines in task order', async () => {
    const deps = await world([[line(0, 0), line(0, 1)], [line(1, 0)]]);
    expect(await read(deps)).toEqual(['0.0', '0.1', '1.0']);
    expect(await read(deps, { job: 'j' })).toEqual(['0.0', '0.1', '1.0']);
  });

  it('goes on with what workers have in their hands, and counts the end of it all', async () => {
    const inHand = [line(9, 0), line(9, 1), line(9, 2)];
    const deps = await world([[line(0, 0)]], { inHand });
    expect(await read(deps)).toEqual(['0.0', '9.0', '9.1', '9.2']);
    expect(await read(deps, { tail: 2 })).toEqual(['9.1', '9.2']);
    expect(await read(deps, { tail: 20_000 })).toEqual(['0.0', '9.0', '9.1', '9.2']);
  });

  it('keeps only what all filters want', async () => {
    const deps = await world([[line(0, 0)], [line(1, 0)]], { master: [line(MASTER_TASK, 0)] });
    expect(await read(deps, { datum: 'd1' })).toEqual(['1.0']);
    expect(await read(deps, { filters: ['/f0', HASH.toString('hex')] })).toEqual(['0.0']);
    expect(await read(deps, { filters: ['/f0', '/f1'] })).toEqual([]);
    expect(await read(deps, { master: true })).toEqual(['-1.0']);
    expect(await read(deps, { tail: 1 })).toEqual(['1.0']);
  });

  it('follows live lines without repeating stored ones, until the job ends', async () => {
    let state = 'RUNNING';
    const live = async function* (): AsyncGenerator<LogLine> {
      yield line(0, 0);
      yield line(0, 1);
      yield line(1, 0, { attempt: 1 });
      yield line(1, 0, { attempt: 1 });
      state = 'SUCCESS';
    };
    const deps = await world([[line(0, 0)]], { live: live(), state: () => state });
    expect(await read(deps, { job: 'j', follow: true })).toEqual(['0.0', '0.1', '1.0']);
  });
});
