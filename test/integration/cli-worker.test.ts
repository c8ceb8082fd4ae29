/** `tusk worker` as a person starts it: its flags reach the worker, and what is wrong is said. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CreatePipelineRequest, JobState } from '../../proto/generated/pps.js';
import { freePort } from '../support/free-port.js';
import { countsOf } from '../support/stack-client.js';
import { startStack, type Stack } from '../support/stack.js';
import { tempDir, type TempDir } from '../support/temp-dir.js';
import { until } from '../support/until.js';

const TUSK = join(import.meta.dirname, '../../cli/bin/tusk');
let stack: Stack;
let dir: TempDir;

beforeAll(async () => {
  [stack, dir] = await Promise.all([startStack({ workers: 0 }), tempDir('worker')]);
});
afterAll(async () => {
  await stack[Symbol.asyncDispose]();
  await dir[Symbol.asyncDispose]();
});

function start(args: readonly string[]) {
  const words = ['worker', ...args];
  const child = spawn(TUSK, words, { cwd: dir.path, env: { ...process.env, HOME: dir.path } });
  let said = '';
  child.stdout.on('data', (part) => (said += String(part)));
  child.stderr.on('data', (part) => (said += String(part)));
  return { child, ended: once(child, 'close'), said: () => said };
}

it('takes its flags, also paths that are relative, and leaves when it is told to', async () => {
  await stack.client.createRepo('in');
  await stack.client.put('in', { '/a': 'one' });
  await stack.client.createPipeline(
    CreatePipelineRequest.fromPartial({
      pipeline: { name: 'picky' },
      transform: { cmd: ['sh'], stdin: ['cat /pfs/in/a > /pfs/out/a'] },
      input: { pfs: { repo: 'in', glob: '/*' } },
      schedulingSpec: { nodeSelector: { disk: 'ssd', zone: 'b' } },
    }),
  );
  const metrics = await freePort();
  const worker = start([
    ...['--join', stack.address, '--data-dir', 'data/of/worker', '--log-file', 'worker.log'],
    ...['--slots', '3', '--label', 'disk=ssd', '--label', 'zone=b', '--gpus', 'none'],
    ...['--isolation', 'unshare', '--cache-gib', '0.5', '--log-level', 'debug'],
    ...['--metrics', `127.0.0.1:${metrics}`],
  ]);
  const job = await stack.client.ended('picky');
  expect({ state: job.state, reason: job.reason }).toEqual({
    state: JobState.JOB_SUCCESS,
    reason: '',
  });
  const shown = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
  const labels = `pipeline="picky",job="${job.job?.id}"`;
  expect(shown).toContain(`pachyderm_worker_datum_count{${labels},state="finished"} 1\n`);
  expect(shown).toContain(`pachyderm_worker_datum_upload_bytes_count{${labels}} 3\n`);
  expect(shown).toMatch(/^tusk_worker_store_read_bytes_total [1-9]/m);
  expect((await fetch(`http://127.0.0.1:${metrics}/`)).status).toBe(404);
  const log = readFileSync(join(dir.path, 'worker.log'), 'utf8');
  const lines = log
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines.find(({ msg }) => msg === 'worker starts')).toMatchObject({
    slots: 3,
    isolation: 'unshare',
    gpus: [],
    labels: { disk: 'ssd', zone: 'b' },
    cacheGib: 0.5,
  });
  expect(readFileSync(join(dir.path, 'data/of/worker/worker.pid'), 'utf8')).toMatch(/^\d+$/);

  const second = start(['--join', stack.address, '--data-dir', 'data/of/worker']);
  expect(await second.ended).toEqual([1, null]);
  expect(second.said()).toMatch(/another worker \(process \d+\) uses .*data\/of\/worker/);

  worker.child.kill('SIGTERM');
  expect((await worker.ended)[1] ?? 'an exit').toBe('an exit');
  await until('the cluster knows', async () => {
    const { stdout } = await stack.tusk(['inspect', 'pipeline', 'picky']);
    return !/Workers Available: 1/.test(stdout);
  });
});

it('whose disk a datum fills goes on with the others', async () => {
  await stack.client.createRepo('sizes');
  await stack.client.put('sizes', { '/a': '1', '/b': '200', '/c': '2' });
  await stack.client.createPipeline(
    CreatePipelineRequest.fromPartial({
      pipeline: { name: 'fills' },
      transform: {
        cmd: ['sh', '-e'],
        stdin: ['head -c "$(cat /pfs/sizes/*)M" /dev/zero > /pfs/out/$(cat /pfs/sizes/*)'],
      },
      input: { pfs: { repo: 'sizes', glob: '/*' } },
      schedulingSpec: { nodeSelector: { disk: 'small' } },
    }),
  );
  const disk = join(dir.path, 'small');
  mkdirSync(disk);
  const mounted = `mount -t tmpfs -o size=48m tmpfs "$0" && exec "$@" --data-dir "$0"`;
  const namespace = userInfo().uid === 0 ? ['-m'] : ['-U', '-r', '-m'];
  const words = ['worker', '--join', stack.address, '--slots', '1', '--label', 'disk=small'];
  const child = spawn('unshare', [...namespace, 'sh', '-c', mounted, disk, TUSK, ...words], {
    env: { ...process.env, HOME: dir.path },
    stdio: 'ignore',
  });
  const job = await stack.client.ended('fills');
  expect(countsOf(job)).toMatchObject({ state: 'JOB_FAILURE', processed: 2, failed: 1, total: 3 });
  expect(job.reason).toMatch(/No space left on device/);
  // An input that does not fit is no fault of the datum: it waits for another worker, and says so.
  await stack.client.createRepo('large');
  const input = Buffer.alloc(60_000_000, 'x');
  await stack.tusk(['put', 'file', 'large@master:/a', '-f', '-'], { input });
  await stack.client.createPipeline(
    CreatePipelineRequest.fromPartial({
      pipeline: { name: 'waits' },
      transform: { cmd: ['true'] },
      input: { pfs: { repo: 'large', glob: '/*' } },
      schedulingSpec: { nodeSelector: { disk: 'small' } },
    }),
  );
  const waiting = await until('it says why', async () => {
    const [info] = await stack.client.jobs('waits');
    const shown = await stack.tusk(['inspect', 'job', info?.job?.id ?? ''], { check: false });
    return /^Reason: (worker .*)$/m.exec(shown.stdout)?.[1];
  });
  expect(waiting).toMatch(
    /^worker \S+ gave a task back: the worker's disk is full \(.*; it is tried again$/,
  );
  await stack.tusk(['delete', 'pipeline', 'waits']);
  child.kill('SIGTERM');
  await once(child, 'close');
});

it('ends at once and says what is wrong with a flag', async () => {
  writeFileSync(join(dir.path, 'file'), '');
  const good = ['--join', stack.address];
  const wrong: [string[], RegExp][] = [
    [[], /--join is required/],
    [['--join', 'nowhere'], /--join nowhere: expected HOST:PORT/],
    [[...good, '--data-dir', 'file'], /cannot use .*\/file as the worker's data directory: EEXIST/],
    [[...good, '--data-dir', 'file/below'], /cannot use .*\/file\/below as the worker's data dir/],
    [['--join', '127.0.0.1:1', '--data-dir', '/proc/x/y'], /cannot use \/proc\/x\/y as .*: ENOENT/],
    [[...good, '--log-file', '/proc/x/log'], /ENOENT.*'\/proc\/x'/],
    [[...good, '--isolation', 'vm'], /--isolation vm: expected bwrap, unshare, plain/],
    [[...good, '--cache-gib', 'much'], /--cache-gib much: expected a number/],
    [[...good, '--label', 'x'], /--label x/],
    [[...good, '--slots', '0'], /--slots must be at least 1/],
    [[...good, '--log-level', 'loud'], /--log-level loud: expected/],
    [[...good, '--metrics', 'here'], /--metrics here: expected \[HOST:\]PORT/],
  ];
  await Promise.all(
    wrong.map(async ([args, text]) => {
      const { ended, said } = start(args);
      const [code] = (await ended) as [number];
      expect({ args, code }).toEqual({ args, code: 1 });
      expect(said()).toMatch(text);
      expect(said()).not.toMatch(/\n +at .*\(/);
    }),
  );
});
