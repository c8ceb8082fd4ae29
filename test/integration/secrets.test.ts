/** Secrets from the command line to user code, and everywhere they must not be. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  CreatePipelineRequest,
  InspectPipelineRequest,
  JobState,
  PipelineState,
  type PipelineInfo,
  type SecretMount,
} from '../../proto/generated/pps.js';
import { startStack, type Stack } from '../support/stack.js';
import { until } from '../support/until.js';

let stack: Stack;

beforeAll(async () => {
  stack = await startStack();
  await stack.client.createRepo('in');
  await stack.client.put('in', { '/a': 'x' });
}, 60_000);
afterAll(async () => {
  await stack[Symbol.asyncDispose]();
});

/** Found nowhere but where it belongs. */
const VALUE = 'hunter2-correct-horse-battery-staple';
const manifest = (name: string, stringData: object, labels?: object): string =>
  JSON.stringify({ apiVersion: 'v1', kind: 'Secret', metadata: { name, labels }, stringData });

async function tusk(args: string, input = ''): Promise<string> {
  const ran = await stack.tusk(args.split(' '), { input, check: false });
  return (ran.stdout + ran.stderr).trimEnd();
}

async function create(name: string, secrets: Partial<SecretMount>[], code: string): Promise<void> {
  await stack.client.createPipeline(
    CreatePipelineRequest.fromPartial({
      pipeline: { name },
      transform: { cmd: ['sh', '-c', code], secrets },
      input: { pfs: { repo: 'in', glob: '/' } },
    }),
  );
}

const inspect = (name: string): Promise<PipelineInfo> =>
  stack.client.call(
    stack.client.pps.inspectPipeline.bind(stack.client.pps),
    InspectPipelineRequest.fromPartial({ pipeline: { name } }),
  );

describe('the commands', () => {
  it('create, list, inspect and delete, without ever showing a value', async () => {
    expect(await tusk('create secret -f -', manifest('one', { key: VALUE }))).toBe('');
    expect(await tusk('create secret -f -', manifest('one', { key: VALUE }))).toContain(
      'failed to create secret: secrets "one" already exists',
    );
    expect(await tusk('list secret')).toMatch(/^NAME TYPE\s+CREATED\s+\none\s+Opaque \S.* ago\s*$/);
    expect(await tusk('inspect secret one')).toMatch(/\none\s+Opaque /);
    expect(await tusk('inspect secret two')).toContain(
      'failed to get secret: secrets "two" not found',
    );
    expect(await tusk('create secret -f -', manifest('x', {}, { suite: 'mine' }))).toContain(
      'invalid suite label set on secret: suite=mine',
    );
    expect(await tusk('create secret -f -', '{')).toContain('failed to unmarshal secret: ');
    expect(await tusk('delete secret one')).toBe('');
    expect(await tusk('delete secret one')).toContain(
      'failed to delete secret: secrets "one" not found',
    );
  });
});

describe('user code', () => {
  it('sees values as variables and as files at any path, read-only', async () => {
    await tusk('create secret -f -', manifest('db', { password: VALUE, user: 'me' }));
    const code = [
      'printf %s "$DB_PASSWORD" | sha256sum > /pfs/out/env',
      'cat /mnt/secret/db/password | sha256sum > /pfs/out/file',
      'ls /mnt/secret/db /etc/tusk-test > /pfs/out/list',
      'touch /mnt/secret/db/x 2>/dev/null && echo writable > /pfs/out/writable',
      'test -e /etc/passwd && env | grep -c password | cat > /pfs/out/more; true',
    ];
    await create(
      'uses',
      [
        { name: 'db', envVar: 'DB_PASSWORD', key: 'password' },
        { name: 'db', mountPath: '/mnt/secret/db' },
        { name: 'db', mountPath: '/etc/tusk-test' },
      ],
      code.join('; '),
    );
    const job = await stack.client.ended('uses');
    expect(job).toMatchObject({ state: JobState.JOB_SUCCESS, reason: '' });
    const files = await stack.client.files('uses', 'master');
    expect(files['/env']).toBe(files['/file']);
    expect(files['/list']).toBe(
      '/etc/tusk-test:\npassword\nuser\n\n/mnt/secret/db:\npassword\nuser\n',
    );
    expect(files['/writable']).toBeUndefined();
  });

  it('sees them in spouts too, with the values of the moment it starts', async () => {
    await tusk('create secret -f -', manifest('feed', { token: 'first' }));
    const code = [
      'mkdir -p /tmp/o; printf "$TOKEN $(cat /mnt/feed/token)" > /tmp/o/v',
      'tar -C /tmp/o -cf - v > /pfs/out; sleep 1000',
    ];
    const secrets = [
      { name: 'feed', envVar: 'TOKEN', key: 'token' },
      { name: 'feed', mountPath: '/mnt/feed' },
    ];
    const transform = { cmd: ['sh', '-c', code.join('; ')], secrets };
    const spec = { pipeline: { name: 'feeds' }, transform, spout: { overwrite: true } };
    await stack.client.createPipeline(CreatePipelineRequest.fromPartial(spec));
    const shows = (value: string): Promise<unknown> =>
      until(`the spout saw ${value}`, async () => {
        const files = await stack.client.files('feeds', 'master').catch(() => ({}));
        return (files as Record<string, string>)['/v'] === value;
      });
    await shows('first first');
    await tusk('delete secret feed');
    await tusk('create secret -f -', manifest('feed', { token: 'second' }));
    expect(await tusk('stop pipeline feeds')).toBe('');
    expect(await tusk('start pipeline feeds')).toBe('');
    await shows('second second');
    expect(await tusk('delete pipeline feeds')).toBe('');
  });

  it('leaves no value in etcd, in the store, in logs or on the disk of a worker', async () => {
    const found = (...args: string[]): string => {
      try {
        return execFileSync('grep', ['-rlaF', VALUE, ...args], { encoding: 'utf8' });
      } catch {
        return '';
      }
    };
    expect(found(stack.dir)).toBe('');
    const { kvs } = await dump();
    expect(kvs).toContain('sec/db');
    expect(kvs).not.toContain(VALUE);
    expect(kvs).not.toContain(Buffer.from(VALUE).toString('base64').slice(0, 40));
    expect(await tusk('inspect pipeline uses --raw')).not.toContain(VALUE);
  });

  it('waits, with the reason, for a secret that is not there', async () => {
    await create(
      'waits',
      [{ name: 'late', envVar: 'LATE', key: 'k' }],
      'printf $LATE > /pfs/out/v',
    );
    const state = (wanted: PipelineState): Promise<PipelineInfo> =>
      until(`waits is ${PipelineState[wanted]}`, async () => {
        const info = await inspect('waits');
        return info.state === wanted && info;
      });
    const { reason } = await state(PipelineState.PIPELINE_CRASHING);
    expect(reason).toMatch(/^secret "late" not found: create it with/);
    await tusk('create secret -f -', manifest('late', { other: 'x' }));
    await until('the reason changes', async () =>
      (await inspect('waits')).reason.includes('secret "late" has no key "k"; it has other'),
    );
    await tusk('delete secret late');
    await tusk('create secret -f -', manifest('late', { k: 'v' }));
    await stack.client.ended('waits');
    await state(PipelineState.PIPELINE_RUNNING);
    expect(await stack.client.files('waits', 'master')).toEqual({ '/v': 'v' });
  });
});

/** Everything in etcd, as text. */
async function dump(): Promise<{ kvs: string }> {
  const { Etcd3 } = await import('etcd3');
  const client = new Etcd3({ hosts: stack.etcd.url });
  try {
    return { kvs: JSON.stringify(await client.getAll().strings()) };
  } finally {
    client.close();
  }
}

it('keeps its key beside the coordinator, for its user alone', () => {
  const mode = execFileSync('stat', ['-c', '%a', join(stack.dir, 'coordinator', 'secrets.key')]);
  expect(mode.toString().trim()).toBe('600');
});

it('goes with everything else', async () => {
  expect(await tusk('list secret')).toContain('\ndb ');
  await stack.client.call(stack.client.pps.deleteAll.bind(stack.client.pps), {});
  expect((await tusk('list secret')).split('\n')).toHaveLength(1);
  expect((await dump()).kvs).not.toContain('sec/db');
});
