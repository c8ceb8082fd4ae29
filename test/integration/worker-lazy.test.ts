/** Lazy inputs: named pipes whose content is fetched when they are opened. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openTaskBench, type TaskBench } from '../support/task-bench.js';

const sh = (...stdin: string[]) => ({ cmd: ['sh'], stdin });
let bench: TaskBench;

beforeAll(async () => {
  bench = await openTaskBench();
});
afterAll(async () => {
  await bench[Symbol.asyncDispose]();
});

it('costs nothing until it is opened, and then gives the whole content once', async () => {
  const big = 'z'.repeat(3_000_000);
  const tree = await bench.tree({ 'd/big': big, 'd/never': big, small: 'small\n', void: '' });
  const run = await bench.run({
    transform: sh(
      'cd /pfs/in; ls -lR | grep -c "^p"; stat -c %s small',
      'cat small void; sha256sum < d/big | cut -c1-64; head -c 10 d/never; echo',
      'timeout 0.3 cat small || echo "one read"',
      'ln -s /pfs/in/d/big /pfs/out/link; ln -s /pfs/in/small /pfs/out/s',
    ),
    datums: [[{ name: 'in', path: '/', tree, lazy: true }]],
  });
  expect((await bench.details(run))[0]?.reason).toBeUndefined();
  const lines = await bench.userLines(run);
  expect(lines).toEqual(['4', '0', 'small', bench.sha(big), 'zzzzzzzzzz', 'one read']);
  expect(await bench.output(run)).toEqual({ '/link': big, '/s': 'small\n' });
  expect(run.result.stats.uploadBytes).toBe(0);
  const none = await bench.run({
    transform: sh('true'),
    datums: [[{ name: 'in', path: '/', tree, lazy: true }]],
  });
  expect(none.result.stats.downloadBytes).toBe(0);
});

it('can be read by several processes at once, and is beside inputs that are not lazy', async () => {
  const names = Array.from({ length: 300 }, (_, i) => `f${i}`);
  const tree = await bench.tree(Object.fromEntries(names.map((name) => [name, `${name}\n`])));
  const run = await bench.run({
    transform: {
      ...sh('ls /pfs/in | xargs -P 8 -I{} cat /pfs/in/{} | sort | uniq | wc -l; cat $eager'),
      user: 'nobody',
    },
    datums: [
      [
        { name: 'in', path: '/', tree, lazy: true },
        { name: 'eager', path: '/f7', tree },
      ],
    ],
  });
  expect(await bench.userLines(run)).toEqual(['300', 'f7']);
});

it('fails the datum when its content can not be read, and when a pipe is the output', async () => {
  const tree = await bench.tree({ f: 'y'.repeat(1_500_000) });
  const moved = await bench.run({
    transform: sh('cp -a /pfs/in/f /pfs/out/f'),
    datums: [[{ name: 'in', path: '/f', tree, lazy: true }]],
  });
  expect((await bench.details(moved))[0]?.reason).toContain('cannot upload special file');
  const { rm, mkdir } = await import('node:fs/promises');
  await rm(bench.storeDir, { recursive: true });
  await mkdir(bench.storeDir);
  const lost = bench.run({
    transform: sh('cat /pfs/in/f | wc -c; echo partial > /pfs/out/f'),
    datums: [[{ name: 'in', path: '/f', tree, lazy: true }]],
  });
  const reason = await lost.then(
    async (run) => (await bench.details(run))[0]?.reason ?? '',
    (error: unknown) => String(error),
  );
  expect(reason).not.toBe('');
});
