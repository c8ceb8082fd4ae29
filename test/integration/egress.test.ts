/** Egress of job outputs to a real S3 server and to a directory, with all that can go wrong. */
import { mkdirSync, readFileSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { GetObjectCommand, ListObjectsV2Command, S3Client, type _Object } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CreatePipelineRequest, JobState, type JobInfo } from '../../proto/generated/pps.js';
import { freePort } from '../support/free-port.js';
import { startStack, type Stack } from '../support/stack.js';
import { tempDir, type TempDir } from '../support/temp-dir.js';
import { until } from '../support/until.js';

let stack: Stack;
let targets: TempDir;
let s3: S3Client;

beforeAll(async () => {
  targets = await tempDir('targets');
  stack = await startStack({ store: 's3', config: { localTargets: targets.path } });
  const server = stack.s3 as NonNullable<Stack['s3']>;
  s3 = new S3Client({
    endpoint: server.url,
    region: server.region,
    forcePathStyle: true,
    credentials: { accessKeyId: server.accessKeyId, secretAccessKey: server.secretAccessKey },
  });
  await stack.client.createRepo('in');
  await stack.client.put('in', { '/a.txt': 'one', '/dir/b.txt': 'two' });
}, 120_000);
afterAll(async () => {
  s3.destroy();
  await stack[Symbol.asyncDispose]();
  await targets[Symbol.asyncDispose]();
});

const COPY = 'cp -r /pfs/in/. /pfs/out/; mkdir /pfs/out/empty';

async function create(name: string, URL: string, code = COPY, input = 'in'): Promise<void> {
  await stack.client.createPipeline(
    CreatePipelineRequest.fromPartial({
      pipeline: { name },
      transform: { cmd: ['sh', '-c', code] },
      input: { pfs: { repo: input, glob: '/' } },
      egress: { URL },
    }),
  );
}

const bucket = (): string => stack.s3?.bucket ?? '';

async function objects(prefix: string): Promise<Map<string, _Object>> {
  const page = await s3.send(new ListObjectsV2Command({ Bucket: bucket(), Prefix: prefix }));
  return new Map((page.Contents ?? []).map((object) => [object.Key ?? '', object]));
}

async function bytes(Key: string): Promise<Buffer> {
  const reply = await s3.send(new GetObjectCommand({ Bucket: bucket(), Key }));
  return Buffer.from((await reply.Body?.transformToByteArray()) ?? []);
}

const ended = (name: string, count = 1): Promise<JobInfo> => stack.client.ended(name, count);

describe('to a bucket', () => {
  it('copies every file below the path of the url, large ones too, and replaces them later', async () => {
    const large = 'head -c 21000000 /dev/zero | tr "\\0" x > /pfs/out/large';
    await create('out', `s3://${bucket()}/results/all/`, `${COPY}; ${large}`);
    const job = await ended('out');
    expect(job).toMatchObject({ state: JobState.JOB_SUCCESS, reason: '' });
    expect([...(await objects('results/')).keys()]).toEqual([
      'results/all/a.txt',
      'results/all/dir/b.txt',
      'results/all/large',
    ]);
    expect((await bytes('results/all/dir/b.txt')).toString()).toBe('two');
    expect((await bytes('results/all/large')).equals(Buffer.alloc(21_000_000, 'x'))).toBe(true);
    await stack.client.createRepo('later');
    await stack.client.put('later', { '/a.txt': 'old' });
    await create(
      'again',
      `s3://${bucket()}/again?endpoint=${stack.s3?.url}`,
      'cp /pfs/later/* /pfs/out',
      'later',
    );
    await ended('again');
    await stack.client.put('later', { '/b.txt': 'new' });
    await ended('again', 2);
    expect([...(await objects('again/')).keys()]).toEqual(['again/a.txt', 'again/b.txt']);
  });

  it('goes on after the coordinator died, and ends once', async () => {
    const files = 'for i in $(seq 400); do echo $i > /pfs/out/f$i; done';
    await create('many', `s3://${bucket()}/many`, files);
    await until('some are copied', async () => (await objects('many/')).size > 20);
    await stack.killCoordinator();
    expect((await objects('many/')).size).toBeLessThan(400);
    await stack.restartCoordinator();
    expect(await ended('many')).toMatchObject({ state: JobState.JOB_SUCCESS });
    expect((await objects('many/')).size).toBe(400);
    expect((await bytes('many/f399')).toString()).toBe('399\n');
    expect(await stack.client.jobs('many')).toHaveLength(1);
  });
});

describe('to a directory', () => {
  it('copies files as they are', async () => {
    await create('local', 'local://some/dir');
    expect(await ended('local')).toMatchObject({ state: JobState.JOB_SUCCESS });
    const dir = join(targets.path, 'some', 'dir');
    expect(readdirSync(dir).sort()).toEqual(['a.txt', 'dir']);
    expect(readFileSync(join(dir, 'dir', 'b.txt'), 'utf8')).toBe('two');
  });

  it('never leaves the directory that the settings name', async () => {
    mkdirSync(join(targets.path, 'evil'));
    symlinkSync('/tmp', join(targets.path, 'evil', 'dir'));
    await create('evil', 'local://evil');
    expect((await ended('evil')).reason).toMatch(/^egress error: .* is outside/);
  });
});

describe('what can not be done', () => {
  it.concurrent(
    'fails the job after four tries, keeps the output and lets others go on',
    async () => {
      const port = await freePort();
      await create('lost', `s3://nowhere/x?endpoint=http://127.0.0.1:${port}`);
      await stack.client.createPipeline(
        CreatePipelineRequest.fromPartial({
          pipeline: { name: 'next' },
          transform: { cmd: ['sh', '-c', 'cp /pfs/lost/a.txt /pfs/out/'] },
          input: { pfs: { repo: 'lost', glob: '/' } },
        }),
      );
      expect(await ended('next')).toMatchObject({ state: JobState.JOB_SUCCESS });
      const egressing = await until('the job says what it tries', async () => {
        const [job] = await stack.client.jobs('lost');
        return job?.reason.includes('trying again') && job;
      });
      expect(egressing.state).toBe(JobState.JOB_EGRESSING);
      expect(egressing.reason).toMatch(
        /^egress error: cannot reach bucket nowhere .*; trying again \(0 of 2 files/,
      );
      const job = await ended('lost');
      expect(job.state).toBe(JobState.JOB_FAILURE);
      expect(job.reason).toMatch(/^egress error: cannot reach bucket nowhere at http/);
      expect(await stack.client.files('lost', 'master')).toMatchObject({ '/a.txt': 'one' });
    },
  );

  it.concurrent('names a scheme that nobody knows', async () => {
    await create('odd', 'ftp://host/dir');
    expect(await ended('odd')).toMatchObject({
      state: JobState.JOB_FAILURE,
      reason: 'egress error: unrecognized object store: ftp',
    });
  });

  it.concurrent('ends when the job is stopped; the output stays', async () => {
    const port = await freePort();
    await create('stopped', `s3://nowhere/x?endpoint=http://127.0.0.1:${port}`);
    const job = await until('it egresses', async () => {
      const [one] = await stack.client.jobs('stopped');
      return one?.state === JobState.JOB_EGRESSING && one;
    });
    await stack.tusk(['stop', 'job', job.job?.id ?? '']);
    expect(await ended('stopped')).toMatchObject({ state: JobState.JOB_KILLED });
    expect(await stack.client.files('stopped', 'master')).toMatchObject({ '/a.txt': 'one' });
  });
});
