/** A whole cluster into an archive and into an empty cluster: everything equal, nothing run again. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startStack, type Stack } from '../support/stack.js';
import { until } from '../support/until.js';

let source: Stack;
let target: Stack;
let archive = '';
/** Made without objects. */
let names = '';

beforeAll(async () => {
  [source, target] = await Promise.all([
    startStack({ workers: 1 }),
    startStack({ workers: 1, store: 's3' }),
  ]);
  archive = join(source.dir, 'cluster.tusk');
  names = join(source.dir, 'names.tusk');
  await fill();
});
afterAll(async () => {
  await Promise.all([source[Symbol.asyncDispose](), target[Symbol.asyncDispose]()]);
});

function pipeline(name: string, repo: string, script: string): string {
  return JSON.stringify({
    pipeline: { name },
    transform: { cmd: ['sh'], stdin: [script] },
    input: { pfs: { repo, glob: '/*' } },
  });
}

/** Two pipelines in a chain, one with three versions, a failed job, and what else there is. */
async function fill(): Promise<void> {
  const tusk = (args: string, input = ''): Promise<unknown> =>
    source.tusk(args.split(' '), { input });
  await tusk('create repo in -d inputs');
  await tusk('put file in@master:/plain -f -', 'one\n');
  await tusk('put file in@master:/rows --split csv --header-records 1 -f -', 'h,n\na,1\nb,2\n');
  await tusk('put file in@master:/big -f -', 'x'.repeat(5 << 20));
  await tusk('create pipeline', pipeline('copy', 'in', 'cp -r /pfs/in/* /pfs/out/'));
  await tusk(
    'create pipeline',
    pipeline('next', 'copy', 'cp -r /pfs/copy/* /pfs/out/; mkdir -p /pfs/out/none'),
  );
  await source.client.ended('next');
  await tusk('update pipeline', pipeline('copy', 'in', 'exit 1'));
  await tusk('put file in@master:/late -f -', 'late\n');
  await until('a job failed', async () =>
    (await source.tusk(['list', 'job', '-p', 'copy', '--raw'])).stdout.includes('JOB_FAILURE'),
  );
  await tusk('update pipeline', pipeline('copy', 'in', 'cp -r /pfs/in/* /pfs/out/'));
  await tusk('stop pipeline next');
  // A branch that others trail behind, a commit that is open, a transaction under way.
  await tusk('create branch in@staging --head master');
  await tusk('create repo open');
  await tusk('start commit open@master -m unfinished');
  await tusk('put file open@master:/a -f -', 'first ');
  await tusk('put file open@master:/a -f -', 'second');
  await until('every job ended', async () => {
    const { stdout } = await source.tusk(['list', 'job', '--raw']);
    return !/JOB_(STARTING|RUNNING|MERGING)/.test(stdout);
  });
}

/** Everything a cluster shows, but for times that pass. */
async function everything(stack: Stack): Promise<Record<string, string>> {
  const shown: Record<string, string> = {};
  const show = async (...args: string[]): Promise<string> => {
    const { stdout } = await stack.tusk([...args, '--raw']);
    shown[args.join(' ')] = stdout;
    return stdout;
  };
  for (const list of ['repo', 'pipeline', 'job']) await show('list', list);
  for (const repo of ['in', 'copy', 'next', 'open', '__spec__']) {
    await show('list', 'branch', repo);
    const commits = JSON.parse(
      `[${(await show('list', 'commit', repo)).replace(/\}\n\{/g, '},{')}]`,
    ) as {
      commit: { id: string };
      finished?: string;
    }[];
    for (const { commit, finished } of commits) {
      const walk = finished ? `${repo}@${commit.id}:**` : `${repo}@${commit.id}:/*`;
      if (finished || repo === 'open') await show('glob', 'file', walk);
    }
  }
  shown['version 1'] = (await stack.tusk(['inspect', 'pipeline', 'copy^^', '--raw'])).stdout;
  shown['open'] = (await stack.tusk(['get', 'file', 'open@master:/a'])).stdout;
  return shown;
}

describe('an archive', () => {
  let before: Record<string, string>;

  it('is made while the cluster works, of one moment', async () => {
    before = await everything(source);
    const { stderr } = await source.tusk(['extract', '-o', archive]);
    expect(stderr).toMatch(/^extracted \d+ objects \(.*\) and \d+ records to /);
  });

  it('without objects is refused where they are missing', async () => {
    await source.tusk(['extract', '--no-objects', '-o', names]);
    const { stderr } = await target.tusk(['restore', '-f', names], { check: false });
    expect(stderr).toMatch(/made without objects, and \d+ of them are not in bucket /);
  });

  it('is refused when its end is missing, naming the place, and the cluster stays empty', async () => {
    const bytes = readFileSync(archive);
    for (const length of [4, 200, bytes.length >> 1, bytes.length - 1]) {
      const { code, stderr } = await target.tusk(['restore'], {
        input: bytes.subarray(0, length),
        check: false,
      });
      expect(code).toBe(1);
      expect(stderr).toMatch(new RegExp(`the archive ends at byte ${length}, within .*not whole`));
      expect((await target.tusk(['list', 'repo'])).stdout).not.toContain('in ');
    }
    const other = await target.tusk(['create', 'repo', 'other'], { check: false });
    expect(other.stderr).toContain('is being restored from an archive, or that broke off');
  });

  it('is refused when a byte has changed, naming the place', async () => {
    const bytes = readFileSync(archive);
    bytes[bytes.length >> 1] = ~(bytes[bytes.length >> 1] as number);
    const { stderr } = await target.tusk(['restore'], { input: bytes, check: false });
    expect(stderr).toMatch(/the archive is damaged at byte \d+: /);
    const none = await target.tusk(['restore'], { input: 'no archive', check: false });
    expect(none.stderr).toContain('this is no archive of tusk extract');
  });

  it('goes on after the coordinator was killed, and brings everything back equal', async () => {
    await target.killCoordinator();
    await target.restartCoordinator();
    await target.tusk(['restore', '-f', archive]);
    expect(await everything(target)).toEqual(before);
    expect((await target.tusk(['fsck'])).stdout).toBe('No errors found.\n');
    expect(await everything(source)).toEqual(before);
  });

  it('is not restored over what is there', async () => {
    const { code, stderr } = await target.tusk(['restore', '-f', archive], { check: false });
    expect(code).toBe(1);
    expect(stderr).toMatch(/only an empty cluster can be restored into, and this one has repo /);
  });

  it('lets pipelines go on with what they know: only what is new runs', async () => {
    const jobs = (await target.client.jobs('copy')).length;
    await target.tusk(['put', 'file', 'in@master:/new', '-f', '-'], { input: 'new' });
    const job = await target.client.ended('copy', jobs + 1);
    expect(job.dataProcessed).toBe(1);
    expect(job.dataSkipped).toBe(Number(job.dataTotal) - 1);
  });

  it('goes to a bucket and comes back from it', async () => {
    const url = 's3://backups/monday';
    await target.tusk(['finish', 'commit', 'open@master']);
    const before = await everything(target);
    await target.tusk(['extract', '--url', url]);
    const twice = await target.tusk(['extract', '--url', url], { check: false });
    expect(twice.stderr).toContain('holds an archive at this prefix');
    await target.tusk(['delete', 'all'], { input: 'y\n' });
    const none = await target.tusk(['restore', '--url', 's3://backups/tuesday'], { check: false });
    expect(none.stderr).toContain('there is no archive');
    await target.tusk(['restore', '--url', url]);
    expect(await everything(target)).toEqual(before);
  });

  it('without objects restores beside the same store only, without pipelines as plain repos', async () => {
    const plain = join(source.dir, 'plain.tusk');
    await source.tusk(['extract', '--no-pipelines', '-o', plain]);
    await target.tusk(['delete', 'all'], { input: 'y\n' });
    await target.tusk(['restore', '-f', plain]);
    expect((await target.tusk(['list', 'pipeline'])).stdout.split('\n')).toHaveLength(2);
    expect((await target.tusk(['fsck'])).stdout).toBe('No errors found.\n');
    await target.tusk(['put', 'file', 'copy@master:/mine', '-f', '-'], { input: 'mine' });
    expect((await target.tusk(['get', 'file', 'copy@master:/plain'])).stdout).toBe('one\n');
    await target.tusk(['delete', 'all'], { input: 'y\n' });
    await target.tusk(['restore', '-f', names]);
    expect((await target.tusk(['get', 'file', 'copy@master:/plain'])).stdout).toBe('one\n');
  });
});
