/** Garbage collection on real servers, over a directory and over S3, while puts and jobs run. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import { NEVER } from '../../core/signals.js';
import { openMeta } from '../../coordinator/meta/index.js';
import type { Commit, StartCommitRequest } from '../../proto/generated/pfs.js';
import { CreatePipelineRequest } from '../../proto/generated/pps.js';
import type { ObjectStore } from '../../storage/index.js';
import { bytesOf, collect, openStackObjects, stored } from '../support/collect.js';
import { countsOf, fileOf } from '../support/stack-client.js';
import { startStack, type Stack } from '../support/stack.js';
import { until } from '../support/until.js';

describe.each(['dir', 's3'] as const)('garbage collection over %s', (store) => {
  let stack: Stack;
  let objects: ObjectStore;
  beforeAll(async () => {
    stack = await startStack({ workers: 1, store });
    objects = await openStackObjects(stack);
  });
  afterAll(async () => {
    await objects[Symbol.asyncDispose]();
    await stack[Symbol.asyncDispose]();
  });

  const put = async (path: string, bytes: Buffer): Promise<void> => {
    const upload = stack.client.openPut();
    upload.write({ ...fileOf('data', path), value: bytes });
    await upload.end();
  };
  const deleteHead = async (repo: string): Promise<void> => {
    const { pfs } = stack.client;
    const commit = { repo: { name: repo }, id: 'master' };
    await stack.client.call(pfs.deleteCommit.bind(pfs), { commit });
  };

  it('frees what a deleted commit left, and nothing else', async () => {
    await stack.client.createRepo('data');
    await put('/kept', randomBytes(300_000));
    const kept = new Set((await stored(objects)).keys());
    await put('/gone', randomBytes(5_000_000));
    await collect(stack.address);
    const all = await stored(objects);
    expect([...kept].filter((key) => !all.has(key))).toEqual([]);

    await deleteHead('data');
    const dry = await collect(stack.address, { dryRun: true });
    expect(await stored(objects)).toEqual(all);
    expect(dry.freedBytes).toBeGreaterThanOrEqual(5_000_000);
    const done = await collect(stack.address);
    expect(done).toMatchObject({ freedBytes: dry.freedBytes, missingObjects: 0, heldBy: [] });
    const left = await stored(objects);
    expect(bytesOf(left)).toBe(bytesOf(all) - done.freedBytes);
    expect([...kept].filter((key) => !left.has(key))).toEqual([]);
    expect(await stack.client.list('data', 'master')).toEqual(['/kept']);
  });

  it('runs beside puts and jobs; every file can be read afterwards', async () => {
    await stack.client.createRepo('in');
    await stack.client.createPipeline(
      CreatePipelineRequest.fromPartial({
        pipeline: { name: 'out' },
        transform: { cmd: ['sh'], stdin: ['cp /pfs/in/* /pfs/out/'] },
        input: { pfs: { repo: 'in', branch: 'master', glob: '/*', name: 'in' } },
      }),
    );
    let running = true;
    const collecting = (async () => {
      let rounds = 0;
      for (; running; rounds += 1) await collect(stack.address);
      return rounds;
    })();
    const wanted: Record<string, string> = {};
    try {
      for (let round = 1; round <= 4; round += 1) {
        const files = Object.fromEntries([0, 1, 2].map((n) => [`/f${round}-${n}`, `same ${n}\n`]));
        Object.assign(wanted, files);
        await stack.client.put('in', files);
        await stack.client.ended('out', round);
      }
    } finally {
      running = false;
    }
    expect(await collecting).toBeGreaterThan(1);
    expect(await collect(stack.address)).toMatchObject({ missingObjects: 0 });
    expect(await stack.client.files('in', 'master')).toEqual(wanted);
    expect(await stack.client.files('out', 'master')).toEqual(wanted);
    // What jobs wrote down about themselves is alive, too.
    const job = (await stack.client.jobs('out')).at(-1)?.job?.id ?? '';
    const { stdout } = await stack.tusk(['list', 'datum', job]);
    expect(stdout.split('\n').length).toBeGreaterThan(2);
    expect((await stack.tusk(['logs', '--job', job, '--master'])).stdout).toContain('datums');
  });

  it('an upload that is under way, and an open commit, keep their bytes', async () => {
    const { pfs } = stack.client;
    const parent = { repo: { name: 'data' }, id: '' };
    const commit = await stack.client.call<StartCommitRequest, Commit>(pfs.startCommit.bind(pfs), {
      ...{ parent, branch: 'master', provenance: [], description: '' },
    });
    const early = randomBytes(2_000_000);
    const late: Buffer[] = [];
    const open = { commit, path: '/open' };
    const whole = stack.client.openPut();
    whole.write({ file: open, value: early });
    await whole.end();
    // This one goes on over two collections, with chunks of it stored before the first.
    const before = (await stored(objects)).size;
    const upload = stack.client.openPut();
    await until('a part of the upload is stored', async () => {
      late.push(randomBytes(1_000_000));
      upload.write({ file: { commit, path: '/late' }, value: late.at(-1) as Buffer });
      return (await stored(objects)).size > before;
    });
    const first = await collect(stack.address);
    expect(first.heldBy.join()).toMatch(/^uploads through /);
    await collect(stack.address);
    late.push(Buffer.from('end'));
    upload.write({ file: { commit, path: '/late' }, value: late.at(-1) as Buffer });
    await upload.end();
    await stack.client.call(pfs.finishCommit.bind(pfs), {
      ...{ commit, description: '', empty: false, trees: [], datums: undefined, sizeBytes: 0 },
    });
    expect(await collect(stack.address)).toMatchObject({ missingObjects: 0, heldBy: [] });
    const files = await stack.client.files('data', 'master');
    // Not toBe: a difference of megabytes of noise is not to be printed.
    expect(files['/open'] === early.toString()).toBe(true);
    expect(files['/late'] === Buffer.concat(late).toString()).toBe(true);
  });
});

/** Who signs does not matter; that it is signed S3 does want to see. */
const ANYBODY = 'AWS any:key';

describe('the object store of a stack', () => {
  let stack: Stack;
  beforeAll(async () => {
    const config = { s3Listen: '127.0.0.1:0', httpListen: '127.0.0.1:0' };
    stack = await startStack({ workers: 1, config });
  });
  afterAll(() => stack[Symbol.asyncDispose]());

  it('is checked by fsck and by every reader: they name file and commit', async () => {
    await using objects = await openStackObjects(stack);
    await stack.client.createRepo('data');
    await stack.client.put('data', { '/whole': 'whole', '/a': 'one', '/b': 'two' });
    await stack.client.put('data', { '/big': randomBytes(1_500_000).toString('hex') });
    const [commit = ''] = await stack.client.commits('data');
    const fsck = async (...flags: string[]): Promise<string> =>
      (await stack.tusk(['fsck', ...flags])).stdout;
    expect(await fsck('--data')).toBe('No errors found.\n');

    const chunk = [...(await stored(objects)).keys()].find((key) => key.startsWith('c/')) ?? '';
    const bytes = await objects.get(chunk, { signal: NEVER });
    await objects.delete([chunk], { signal: NEVER });
    const lost = `object ${chunk} is missing`;
    expect(await fsck()).toBe(
      `Error: storage error: ${lost}: file /big in data@${commit} can not be read\n`,
    );
    expect(await fsck('--no-objects')).toBe('No errors found.\n');
    const read = await stack.tusk(['get', 'file', 'data@master:/big'], { check: false });
    expect(read.code).not.toBe(0);
    expect(read.stderr).toContain(`/big in data@${commit} can not be read: ${lost}`);
    expect((await stack.tusk(['get', 'file', 'data@master:/a'])).stdout).toBe('one');

    const named = `/big in data@${commit} can not be read: ${lost}`;
    const advice = '; `tusk fsck --data` lists everything that is hurt';
    const { s3Port, httpPort } = stack.ready;
    for (const url of [
      `http://127.0.0.1:${httpPort}/v1/pfs/repos/data/commits/${commit}/files/big`,
      `http://127.0.0.1:${s3Port}/master.data/big`,
    ]) {
      const answer = await fetch(url, { headers: { authorization: ANYBODY } });
      expect({ url, status: answer.status }).toEqual({ url, status: 500 });
      const text = await answer.text();
      expect(text).toContain(named);
      expect(text).toContain(advice);
    }
    await stack.client.createPipeline(
      CreatePipelineRequest.fromPartial({
        pipeline: { name: 'copy' },
        transform: { cmd: ['sh'], stdin: ['cp /pfs/data/* /pfs/out/'] },
        input: { pfs: { repo: 'data', branch: 'master', glob: '/*', name: 'data' } },
      }),
    );
    const job = await stack.client.ended('copy');
    expect(countsOf(job)).toMatchObject({ state: 'JOB_FAILURE', processed: 3, failed: 1 });
    expect(job.reason).toContain(named);
    expect(job.reason).toContain(advice);
    await stack.tusk(['delete', 'pipeline', 'copy']);

    const changed = Buffer.from(bytes);
    changed[1_000_000] = (changed[1_000_000] as number) ^ 1;
    await writeFile(join(stack.dir, 'store', chunkFile(chunk)), changed);
    expect(await fsck()).toBe('No errors found.\n');
    expect(await fsck('--data')).toContain(
      `object ${chunk} is damaged: its bytes do not match its name: file /big in data@${commit}`,
    );
    const glob = await stack.tusk(['get', 'file', 'data@master:/*'], { check: false });
    expect(glob.stderr).toContain(`/big in data@${commit} can not be read: object ${chunk}`);
    await writeFile(join(stack.dir, 'store', chunkFile(chunk)), bytes);
    expect(await fsck('--data')).toBe('No errors found.\n');
  });

  it('begins beside no extract and no restore: it says what is in the way', async () => {
    const options = { endpoints: [stack.etcd.url], log: silentLog, clock: systemClock };
    await using meta = await openMeta(options, { signal: NEVER });
    const set = (key: string, value: unknown): Promise<void> =>
      meta.transact(async (t) => (value === undefined ? t.delete(key) : t.putJson(key, value)), {
        signal: NEVER,
        label: key,
      });
    await set('hold/x', { what: 'extract', since: 0 });
    await expect(collect(stack.address)).rejects.toThrow(
      'an extract reads the object store since 1970-01-01T00:00:00.000Z: collect garbage when it has ended',
    );
    await set('hold/x', undefined);
    await set('restore', { archive: 'a', attempt: 'b', started: 0 });
    await expect(collect(stack.address)).rejects.toThrow('is being restored from an archive');
    await set('restore', undefined);
    await set('gc/run', { id: 'x', name: 'c:1', started: 0 });
    await expect(collect(stack.address)).rejects.toThrow(
      'garbage collection is running already, on c:1 since 1970-01-01T00:00:00.000Z',
    );
    const file = `${stack.dir}/archive`;
    await stack.tusk(['extract', '-o', file]);
    const restore = await stack.tusk(['restore', '-f', file], { check: false });
    expect(restore.stderr).toContain('a garbage collection is running: restore when it has ended');
    await set('gc/run', undefined);
    expect((await stack.tusk(['garbage-collect'])).stdout).toMatch(
      /^Freed \d+ objects? \(.*\), kept \d+ objects? \(.*\)\.\n$/,
    );
  });
});

/** Where a directory store keeps an object. */
function chunkFile(key: string): string {
  return key.replace(/\/([0-9a-f]{2})([0-9a-f]{62})$/, '/$1/$1$2');
}
