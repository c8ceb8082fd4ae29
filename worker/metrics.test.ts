import { describe, expect, it } from 'vitest';
import { DatumMetrics } from './metrics.js';

const stats = {
  ...{ downloadMs: 20, processMs: 1_500, uploadMs: 0 },
  ...{ downloadBytes: 3_000, uploadBytes: 0 },
};

/** name{labels} → value. */
function read(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))] as const;
    }),
  );
}

describe('metrics of datums', () => {
  it('count tries by how they ended, and what datums cost', () => {
    const metrics = new DatumMetrics();
    const of = { pipeline: 'p', job: 'j' };
    for (let tries = 0; tries < 6; tries += 1) metrics.tried(of);
    metrics.done(of, { state: 'success', tries: 1, stats });
    metrics.done(of, { state: 'success', tries: 2, stats });
    metrics.done(of, { state: 'failed', tries: 3, stats });
    const text = metrics.text();
    const all = read(text);
    const labels = 'pipeline="p",job="j"';
    const at = (name: string, more = ''): number | undefined =>
      all.get(`pachyderm_worker_datum_${name}{${labels}${more}}`);
    expect(['started', 'errored', 'finished'].map((s) => at('count', `,state="${s}"`))).toEqual([
      6, 4, 2,
    ]);
    expect(at('proc_seconds_count')).toBe(4.5);
    expect(at('proc_time_count')).toBe(3);
    expect(at('proc_time_sum')).toBe(4.5);
    expect(at('proc_time_bucket', ',le="1"')).toBe(0);
    expect(at('proc_time_bucket', ',le="2"')).toBe(3);
    expect(at('proc_time_bucket', ',le="8192"')).toBe(3);
    expect(at('proc_time_bucket', ',le="+Inf"')).toBe(3);
    expect(at('download_bytes_count')).toBe(9_000);
    expect(at('download_size_bucket', ',le="1024"')).toBe(0);
    expect(at('download_size_bucket', ',le="4096"')).toBe(3);
    expect(at('download_seconds_count')).toBeCloseTo(0.06, 9);
    expect(at('upload_bytes_count')).toBe(0);
    expect(text.match(/^# TYPE \S+ histogram$/gm)).toHaveLength(5);
    expect(text.match(/^# TYPE \S+ counter$/gm)).toHaveLength(6);
  });

  it('tell what reading from the object store took, once there is one', () => {
    const metrics = new DatumMetrics();
    expect(metrics.text()).not.toContain('store');
    const counts = { reads: 3, readBytes: 4_000, readsHedged: 1, slowDowns: 2 };
    metrics.useStore({ counts });
    counts.reads += 1;
    const all = read(metrics.text());
    const names = ['reads', 'read_bytes', 'reads_hedged', 'slow_downs'];
    expect(names.map((name) => all.get(`tusk_worker_store_${name}_total`))).toEqual([
      4, 4_000, 1, 2,
    ]);
  });

  it('keep the newest jobs', () => {
    const metrics = new DatumMetrics();
    for (let job = 0; job < 1_000; job += 1) {
      metrics.tried({ pipeline: 'p', job: `j${job}` });
      metrics.tried({ pipeline: 'p', job: 'busy' });
    }
    const jobs = new Set([...metrics.text().matchAll(/job="(\w+)"/g)].map(([, job]) => job));
    expect(jobs.size).toBe(200);
    expect(jobs.has('busy')).toBe(true);
    expect(jobs.has('j999')).toBe(true);
    expect(jobs.has('j0')).toBe(false);
  });
});
