/** Limits of pipelines hold: by control groups where they can be made, and by watching. */
import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeCgroups, limitsText, openCgroups } from '../../worker/cgroups.js';
import { openTaskBench, type TaskBench } from '../support/task-bench.js';
import { until } from '../support/until.js';

const MIB = 2 ** 20;
const sh = (...stdin: string[]) => ({ cmd: ['sh'], stdin });
/** Holds the given MiB in the memory of one process. */
const hog = (mib: number): string => `head -c ${mib}M /dev/zero | tail -c ${mib}M > /dev/null`;
const cgroups = openCgroups({ own: [process.pid] });

afterAll(() => closeCgroups(cgroups));

describe.each([
  { name: 'watched', cgroups: undefined },
  // A machine where no control groups can be made has this rung twice.
  { name: 'in control groups, where there are some', cgroups },
])('limits $name', ({ cgroups }) => {
  let bench: TaskBench;
  const datums = async () => [[{ name: 'in', path: '/f', tree: await bench.tree({ f: 'x' }) }]];

  beforeAll(async () => {
    bench = await openTaskBench({ cgroups });
  });
  afterAll(async () => {
    await bench[Symbol.asyncDispose]();
  });

  it('memory: the datum is killed, and its reason has the numbers', async () => {
    const run = await bench.run({
      transform: sh(`trap "" TERM; (${hog(400)}); sleep 401`),
      datums: await datums(),
      memoryBytesMax: 64 * MIB,
      datumTimeoutMs: 60_000,
    });
    expect((await bench.details(run))[0]?.reason).toMatch(
      /killed: used more than memory limit 64Mi/,
    );
    expect(bench.processes(/sleep 401/)).toEqual([]);
    const small = await bench.run({
      transform: sh(hog(8), 'echo fits > /pfs/out/f'),
      datums: await datums(),
      memoryBytesMax: 64 * MIB,
    });
    expect(await bench.output(small)).toEqual({ '/f': 'fits\n' });
  });

  it('cpu: the log says when it is not enforced, and nothing else', async () => {
    const run = async (more: object) =>
      (
        await bench.lines(
          await bench.run({ transform: sh('true'), datums: await datums(), ...more }),
        )
      )
        .filter(({ user }) => !user)
        .map(({ message }) => message);
    const text = 'cpu limit 0.5 is not enforced: this worker has no control group for it';
    const held = cgroups?.cpu !== undefined;
    expect((await run({ cpusMax: 0.5 })).filter((line) => /limit/.test(line))).toEqual(
      held ? [] : [text],
    );
    expect((await run({ memoryBytesMax: 64 * MIB })).join()).not.toContain('limit');
    const where = held ? `cgroup v${cgroups.version}` : 'not enforced';
    expect(limitsText(cgroups)).toContain(`, cpu: ${where}, disk: watched`);
  });

  it('disk: one large file, many small ones, and what is there at the end', async () => {
    const reasonOf = async (script: string): Promise<string> => {
      const run = await bench.run({
        transform: sh(script),
        datums: await datums(),
        diskBytesMax: 8 * MIB,
        datumTimeoutMs: 60_000,
      });
      return (await bench.details(run))[0]?.reason ?? 'no reason';
    };
    expect(await reasonOf('head -c 64M /dev/zero > /pfs/out/big')).toMatch(/disk limit 8Mi/);
    const many = 'i=0; while :; do i=$((i+1)); head -c 1M /dev/zero > /pfs/out/$i || exit; done';
    expect(await reasonOf(many)).toMatch(/killed: used more than disk limit 8Mi \(.*\/pfs\/out\)/);
    const quick = 'for i in 1 2 3; do head -c 4M /dev/zero > /pfs/out/$i; done';
    expect(await reasonOf(quick)).toMatch(/disk limit 8Mi/);
    expect(await reasonOf('head -c 4M /dev/zero > /pfs/out/fits')).toBe('no reason');
  });
});

describe('without limits', () => {
  it('a slot that had some has none for the next pipeline; groups are removed', async () => {
    await using bench = await openTaskBench({ cgroups });
    const datums = [[{ name: 'in', path: '/f', tree: await bench.tree({ f: 'x' }) }]];
    const groups = (): string[] => {
      const home = cgroups?.memory;
      const entries = home === undefined ? [] : readdirSync(home, { withFileTypes: true });
      return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
    };
    // Those of a spawner that ended go when its worker does.
    const before = groups().length;
    const spec = { transform: sh(hog(100), 'cat /proc/self/cgroup'), datums };
    const limited = await bench.run({ ...spec, memoryBytesMax: 32 * MIB, cpusMax: 0.5 });
    expect(limited.result.failed).toBe(1);
    const free = await bench.run(spec);
    expect(free.result.processed).toBe(1);
    await until('its group is gone', () => groups().length === before);
  });

  it('cpu: a datum gets the share it was given', async () => {
    await using bench = await openTaskBench({ cgroups });
    const datums = [[{ name: 'in', path: '/f', tree: await bench.tree({ f: 'x' }) }]];
    const busy = 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; cat /proc/self/cgroup';
    const run = await bench.run({ transform: sh(busy), datums, cpusMax: 0.1 });
    expect(run.result.processed).toBe(1);
    const slot = (await bench.userLines(run)).some((line) => /\/slot-0-\d+$/.test(line));
    expect(slot).toBe(cgroups?.cpu !== undefined);
  });
});
