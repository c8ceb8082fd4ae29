import { describe, expect, it } from 'vitest';
import { systemClock } from './clock.js';
import { createLog } from './log.js';
import { RecentLines, type RecentQuery } from './recent-lines.js';

const ALL: RecentQuery = { tail: 0, sinceMs: 0, follow: false };

async function texts(recent: RecentLines, query: Partial<RecentQuery> = {}): Promise<string[]> {
  const list: string[] = [];
  const { signal } = new AbortController();
  for await (const { text } of recent.read({ ...ALL, ...query }, systemClock, { signal })) {
    list.push(text);
  }
  return list;
}

const line = (time: number, msg: string, more: object = {}): string =>
  `${JSON.stringify({ level: 30, time, part: 'test', pid: 1, ...more, msg })}\n`;

describe('recent lines', () => {
  it('are what the log wrote, for people', async () => {
    const recent = new RecentLines();
    const log = createLog({ part: 'test', file: '/dev/null', recent });
    log.warn({ job: 'j1' }, 'something is odd');
    log.info('all is well');
    const [first, second] = await texts(recent);
    expect(first).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z warning something is odd \{"job":"j1"\}$/);
    expect(second).toMatch(/ info all is well$/);
  });

  it('can be the last ones, or the young ones', async () => {
    const recent = new RecentLines();
    recent.write(line(1_000, 'old'));
    recent.write(line(Date.now(), 'new'));
    recent.write(line(Date.now(), 'newest'));
    expect(await texts(recent)).toHaveLength(3);
    expect((await texts(recent, { tail: 1 })).join()).toContain('newest');
    expect(await texts(recent, { sinceMs: 60_000 })).toHaveLength(2);
  });

  it('stay within bounds', async () => {
    const recent = new RecentLines();
    for (let n = 0; n < 100_000; n += 1) recent.write(line(n, `line ${n} ${'x'.repeat(100)}`));
    recent.write(line(0, 'y'.repeat(1_000_000)));
    const kept = await texts(recent);
    expect(kept.length).toBeGreaterThanOrEqual(10_000);
    expect(kept.length).toBeLessThanOrEqual(20_000);
    expect(kept.at(-1)).toContain('line 99999 ');
  });

  it('go on while somebody follows', async () => {
    const recent = new RecentLines();
    recent.write(line(Date.now(), 'before'));
    const over = new AbortController();
    const seen: string[] = [];
    const reading = (async () => {
      const query = { ...ALL, follow: true };
      for await (const { text } of recent.read(query, systemClock, over)) {
        seen.push(text);
        if (seen.length === 1) recent.write(line(Date.now(), 'after'));
        else over.abort(new Error('seen enough'));
      }
    })();
    await expect(reading).rejects.toThrow('seen enough');
    expect(seen.map((text) => text.split(' ').at(-1))).toEqual(['before', 'after']);
  });
});
