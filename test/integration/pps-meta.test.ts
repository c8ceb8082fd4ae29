/** Pipelines and their records on a real etcd: lifecycle, history and texts of the v1 API. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { codeOf, messageOf } from '../../core/errors.js';
import { silentLog } from '../../core/log.js';
import { NEVER } from '../../core/signals.js';
import { openPipelines, type Pipelines } from '../../coordinator/pipelines/index.js';
import {
  CreatePipelineRequest,
  DeletePipelineRequest,
  ListPipelineRequest,
  PipelineState,
  type PipelineInfo,
} from '../../proto/generated/pps.js';
import { startEtcd, type EtcdServer } from '../support/etcd.js';
import { openVersioningStack, type VersioningStack } from '../support/versioning.js';

const wait = { signal: NEVER };
let etcd: EtcdServer;
let stack: VersioningStack;
let pipelines: Pipelines;

beforeAll(async () => {
  etcd = await startEtcd({ fsync: false });
});
afterAll(async () => {
  await etcd[Symbol.asyncDispose]();
});
beforeEach(async () => {
  stack = await openVersioningStack(etcd);
  pipelines = await openPipelines({ ...stack, clock: systemClock, log: silentLog }, wait);
  await stack.versioning.createRepo({ name: 'in' }, wait);
});
afterEach(async () => {
  await pipelines[Symbol.asyncDispose]();
  await stack[Symbol.asyncDispose]();
});

type Spec = Record<string, unknown>;

const spec = (name: string, more: Spec = {}): CreatePipelineRequest =>
  CreatePipelineRequest.fromPartial({
    pipeline: { name },
    transform: { image: 'host', cmd: ['true'] },
    input: { pfs: { repo: 'in', glob: '/*' } },
    ...more,
  });
const create = (name: string, more: Spec = {}): Promise<void> =>
  pipelines.create(spec(name, more), wait);
const after = (name: string, input: string, more: Spec = {}): Promise<void> =>
  create(name, { input: { pfs: { repo: input, glob: '/' } }, ...more });
const update = (name: string, more: Spec = {}): Promise<void> =>
  create(name, { update: true, ...more });
const remove = (name: string, more: Spec = {}): Promise<void> =>
  pipelines.delete(DeletePipelineRequest.fromPartial({ pipeline: { name }, ...more }), wait);
const inspect = (name: string): Promise<PipelineInfo> => pipelines.inspect(name, wait);
async function list(more: object = {}): Promise<PipelineInfo[]> {
  const found: PipelineInfo[] = [];
  const request = ListPipelineRequest.fromPartial(more);
  for await (const info of pipelines.list(request, wait)) found.push(info);
  return found;
}
const names = (infos: readonly PipelineInfo[]): (string | undefined)[] =>
  infos.map((info) => info.pipeline?.name);
const put = async (repo: string, files: Record<string, string>): Promise<string> =>
  (await stack.versioning.oneShot({ repo, name: 'master' }, [await stack.put(files)], wait)).id;
const branch = (repo: string, name = 'master') =>
  stack.versioning.inspectBranch({ repo, name }, wait);
async function failure(promise: Promise<unknown>): Promise<{ code: string; text: string }> {
  try {
    await promise;
  } catch (error) {
    return { code: codeOf(error), text: messageOf(error) };
  }
  throw new Error('it should have failed');
}

describe('creating', () => {
  it('makes the output repo, the spec commit and the branch with its provenance', async () => {
    await create('p', { description: 'what it does', parallelismSpec: { constant: 20 } });
    const info = await inspect('p');
    expect(info).toMatchObject({
      pipeline: { name: 'p' },
      version: 1,
      description: 'what it does',
      state: PipelineState.PIPELINE_STARTING,
      parallelismSpec: { constant: 20 },
      outputBranch: 'master',
      stopped: false,
      workerRc: 'pipeline-p-v1',
    });
    expect(info.salt).toMatch(/^[0-9a-f]{32}$/);
    const repo = await stack.versioning.inspectRepo('p', wait);
    expect(repo.description).toBe('Output repo for pipeline p.');
    const output = await branch('p');
    expect(output.directProvenance).toEqual([
      { repo: '__spec__', name: 'p' },
      { repo: 'in', name: 'master' },
    ]);
    expect(output.head).toBeUndefined();
    const specs = await branch('__spec__', 'p');
    expect(specs.head).toBe(info.specCommit?.id);
    expect(names(await list())).toEqual(['p']);
  });

  it('makes the branches that triggers of its inputs move', async () => {
    const trigger = { trigger: { commits: 2 } };
    const input = (more: object) => ({ pfs: { repo: 'in', glob: '/*', ...trigger, ...more } });
    await create('p', { input: { cross: [input({ name: 'a' }), input({ name: 'b' })] } });
    await create('q', {
      input: input({ branch: 'big', trigger: { branch: 'staging', size: '1K' } }),
    });
    expect((await inspect('p')).input?.cross.map(({ pfs }) => pfs?.branch)).toEqual([
      'p-trigger-1',
      'p-trigger-2',
    ]);
    expect((await branch('in', 'p-trigger-1')).trigger).toMatchObject({
      branch: 'master',
      commits: 2,
    });
    expect((await branch('in', 'big')).trigger).toMatchObject({ branch: 'staging', size: '1K' });
    await put('in', { '/a': 'x' });
    expect((await branch('p')).head).toBeUndefined();
    const second = await put('in', { '/b': 'x' });
    expect((await branch('in', 'p-trigger-2')).head).toBe(second);
    const head = await stack.versioning.resolveCommit({ repo: 'p', id: 'master' }, wait);
    expect(head.provenance.map((entry) => entry.branch)).toEqual([
      'p',
      'p-trigger-1',
      'p-trigger-2',
    ]);
    await update('p', { input: input({ name: 'a', trigger: { commits: 5 } }) });
    expect(await branch('in', 'p-trigger-1')).toMatchObject({
      head: second,
      trigger: { commits: 5 },
    });
  });

  it.each<[string, object]>([
    ['triggers cannot form a loop', { branch: 'master', trigger: { commits: 1 } }],
    ['invalid trigger cron spec: ', { trigger: { cronSpec: 'often' } }],
    ['invalid trigger size: ', { trigger: { size: 'much' } }],
    ["can't trigger on a negative number of commits", { trigger: { commits: -1 } }],
  ])('refuses a trigger: %s', async (text, more) => {
    const input = { pfs: { repo: 'in', glob: '/*', ...more } };
    expect((await failure(create('p', { input }))).text).toContain(text);
    expect(await list()).toEqual([]);
  });

  it('opens an output commit at once when there is data', async () => {
    const commit = await put('in', { '/a': 'x' });
    await create('p');
    const head = await stack.versioning.resolveCommit({ repo: 'p', id: 'master' }, wait);
    expect(head.finished).toBeUndefined();
    expect(head.provenance.map(({ repo }) => repo)).toEqual(['__spec__', 'in']);
    expect(head.provenance[1]?.id).toBe(commit);
  });

  it('refuses a second one with the same name and keeps the first', async () => {
    await create('p', { description: 'first' });
    expect(await failure(create('p'))).toEqual({
      code: 'ALREADY_EXISTS',
      text: 'pipeline p already exists',
    });
    expect((await inspect('p')).description).toBe('first');
    expect(await list({ history: -1 })).toHaveLength(1);
  });

  it('makes exactly one of ten at a time', async () => {
    const all = await Promise.allSettled(Array.from({ length: 10 }, () => create('p')));
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await list({ history: -1 })).toHaveLength(1);
  });

  it('leaves nothing behind when the input repo is missing', async () => {
    expect(await failure(after('p', 'nowhere'))).toEqual({
      code: 'NOT_FOUND',
      text:
        '/pachyderm_pfs/repos/ nowhere not found (repo of input "nowhere": it must exist; ' +
        "make it first with 'create repo nowhere')",
    });
    const codes = await Promise.all([
      failure(stack.versioning.inspectRepo('p', wait)),
      failure(branch('__spec__', 'p')),
      failure(inspect('p')),
    ]);
    expect(codes.map(({ code }) => code)).toEqual(['NOT_FOUND', 'NOT_FOUND', 'NOT_FOUND']);
  });

  it('refuses loops', async () => {
    await create('a');
    await after('b', 'a');
    expect((await failure(after('a', 'b', { update: true }))).text).toContain(
      'cannot be provenance for itself',
    );
    expect((await failure(after('b', 'b', { update: true }))).text).toBe(
      'branch b@master cannot be in its own provenance',
    );
    expect((await inspect('a')).version).toBe(1);
  });

  it('lets an input branch be made later', async () => {
    await create('p', { input: { pfs: { repo: 'in', branch: 'later', glob: '/*' } } });
    expect((await branch('in', 'later')).head).toBeUndefined();
  });

  it('refuses a bad output branch', async () => {
    expect((await failure(create('p', { outputBranch: 'a.b' }))).text).toContain('name (a.b)');
    expect((await failure(inspect('p'))).code).toBe('NOT_FOUND');
  });
});

describe('creating from a spec commit', () => {
  const from = (id: string, more: Spec = {}): Promise<void> => {
    const request = { pipeline: { name: 'p' }, specCommit: { repo: { name: '__spec__' }, id } };
    return pipelines.create(CreatePipelineRequest.fromPartial({ ...request, ...more }), wait);
  };

  it('makes the pipeline again as it was, on the heads that are there', async () => {
    await put('in', { '/a': 'x' });
    await create('p', { description: 'first', salt: 'pepper', outputBranch: 'made' });
    await update('p', { description: 'second', outputBranch: 'made' });
    const before = await inspect('p');
    const { head } = await branch('p', 'made');
    await remove('p', { keepRepo: true });
    await from(before.specCommit?.id ?? '');
    expect(await inspect('p')).toMatchObject({
      ...{ version: 2, description: 'second', salt: 'pepper', outputBranch: 'made' },
      specCommit: before.specCommit,
      input: before.input,
      createdAt: before.createdAt,
    });
    expect(await list({ history: -1 })).toHaveLength(2);
    expect((await branch('p', 'made')).head).toBe(head);
    await put('in', { '/b': 'x' });
    const next = await stack.versioning.resolveCommit({ repo: 'p', id: 'made' }, wait);
    expect(next).toMatchObject({ parent: head });
    expect(next.provenance.map(({ repo }) => repo)).toEqual(['__spec__', 'in']);
  });

  it('keeps one that was stopped stopped', async () => {
    await create('p');
    await pipelines.stop('p', wait);
    const { specCommit } = await inspect('p');
    await remove('p');
    await from(specCommit?.id ?? '');
    const state = PipelineState.PIPELINE_PAUSED;
    expect(await inspect('p')).toMatchObject({ stopped: true, state });
    expect((await branch('p')).directProvenance).toEqual([]);
  });

  it('is refused for a pipeline that is there, another one, and no commit', async () => {
    await create('p');
    await create('q');
    const own = (await inspect('p')).specCommit?.id ?? '';
    const other = (await inspect('q')).specCommit?.id ?? '';
    expect((await failure(from(own))).text).toBe('pipeline p already exists');
    expect((await failure(from(own, { update: true }))).text).toContain(
      "update it with what 'extract pipeline p^' prints",
    );
    await remove('p');
    expect((await failure(from(other))).text).toBe(
      `spec commit __spec__@${other} is not one of pipeline p, but of q`,
    );
    expect(await failure(from('0'.repeat(32)))).toMatchObject({ code: 'NOT_FOUND' });
    expect(names(await list())).toEqual(['q']);
  });
});

describe('updating', () => {
  it('counts versions, keeps the salt and finishes open outputs empty', async () => {
    await put('in', { '/a': 'x' });
    await create('p', { salt: 'pepper' });
    const first = await inspect('p');
    const head = (await branch('p')).head ?? '';
    await update('p', { description: 'second', salt: 'other' });
    const second = await inspect('p');
    expect(second).toMatchObject({ version: 2, description: 'second', salt: 'pepper' });
    expect(second.specCommit?.id).not.toBe(first.specCommit?.id);
    const old = await stack.versioning.resolveCommit({ repo: 'p', id: head }, wait);
    expect(old.kind).toBe('empty');
    const next = await stack.versioning.resolveCommit({ repo: 'p', id: 'master' }, wait);
    expect(next).toMatchObject({ parent: head });
    expect(next.finished).toBeUndefined();
  });

  it('starts afresh with reprocess', async () => {
    await put('in', { '/a': 'x' });
    await create('p', { salt: 'pepper' });
    await update('p', { reprocess: true });
    expect((await inspect('p')).salt).toMatch(/^[0-9a-f]{32}$/);
    const head = await stack.versioning.resolveCommit({ repo: 'p', id: 'master' }, wait);
    expect(head.parent).toBeUndefined();
  });

  it('creates what does not exist', async () => {
    await update('p');
    expect((await inspect('p')).version).toBe(1);
  });

  it('takes the provenance off a former output branch and keeps its data', async () => {
    await put('in', { '/a': 'x' });
    await create('p');
    await update('p', { outputBranch: 'out' });
    const former = await branch('p');
    expect(former.directProvenance).toEqual([]);
    expect(former.head).toBeDefined();
    expect((await branch('p', 'out')).directProvenance).toHaveLength(2);
  });

  it('does not let stats be switched off', async () => {
    await create('p', { enableStats: true });
    expect(await failure(update('p'))).toEqual({
      code: 'INVALID_INPUT',
      text: 'pipeline p update error: cannot disable stats',
    });
  });

  it('keeps a stopped pipeline stopped', async () => {
    await create('p');
    await pipelines.stop('p', wait);
    await update('p');
    expect(await inspect('p')).toMatchObject({
      version: 2,
      stopped: true,
      state: PipelineState.PIPELINE_PAUSED,
    });
    expect((await branch('p')).directProvenance).toEqual([]);
  });

  it('is refused whole when the new spec is bad', async () => {
    await create('p');
    const bad = update('p', { input: { pfs: { repo: 'in', glob: '/[' } } });
    expect((await failure(bad)).text).toMatch(/^invalid glob/);
    expect((await inspect('p')).version).toBe(1);
  });
});

describe('stopping and starting', () => {
  it('cuts the pipeline off its inputs and catches up with one commit', async () => {
    await put('in', { '/a': 'x' });
    await create('p');
    const { head } = await branch('p');
    await pipelines.stop('p', wait);
    expect(await inspect('p')).toMatchObject({ stopped: true, version: 1 });
    expect((await branch('p')).provenance).toEqual([]);
    await put('in', { '/b': 'x' });
    await put('in', { '/c': 'x' });
    expect((await branch('p')).head).toBe(head);

    await pipelines.start('p', wait);
    const info = await inspect('p');
    expect(info).toMatchObject({ stopped: false, state: PipelineState.PIPELINE_STARTING });
    const next = await stack.versioning.resolveCommit({ repo: 'p', id: 'master' }, wait);
    expect(next.parent).toBe(head);
    expect(next.finished).toBeUndefined();
  });

  it('may be asked for twice and needs a pipeline', async () => {
    await create('p');
    await pipelines.start('p', wait);
    await pipelines.stop('p', wait);
    await pipelines.stop('p', wait);
    expect(await list({ history: -1 })).toHaveLength(2);
    const missing = { code: 'NOT_FOUND', text: 'pipeline "x" not found' };
    expect(await failure(pipelines.stop('x', wait))).toEqual(missing);
    expect(await failure(pipelines.start('x', wait))).toEqual(missing);
  });
});

describe('looking', () => {
  it('finds older specs by ancestry and by history', async () => {
    await create('p', { description: 'one' });
    await update('p', { description: 'two' });
    await update('p', { description: 'three' });
    expect((await inspect('p^')).description).toBe('two');
    expect((await inspect('p~2')).description).toBe('one');
    expect((await inspect('p.1')).description).toBe('one');
    expect(await failure(inspect('p~3'))).toMatchObject({ text: 'pipeline "p~3" not found' });
    const all = await list({ history: -1 });
    expect(all.map(({ version }) => version)).toEqual([3, 2, 1]);
    expect((await list({ history: 1 })).map(({ version }) => version)).toEqual([3, 2]);
    expect(await list()).toHaveLength(1);
  });

  it('lists newest first, by name and by filter', async () => {
    for (const name of ['b', 'c', 'a']) await create(name);
    await pipelines.stop('c', wait);
    expect(names(await list())).toEqual(['a', 'c', 'b']);
    expect(names(await list({ pipeline: { name: 'b' } }))).toEqual(['b']);
    expect(names(await list({ jqFilter: '.state == "PIPELINE_PAUSED"' }))).toEqual(['c']);
    expect(await failure(list({ pipeline: { name: 'x' } }))).toEqual({
      code: 'NOT_FOUND',
      text: 'pipeline "x" not found',
    });
    expect((await failure(list({ jqFilter: '.state ==' }))).code).toBe('INVALID_INPUT');
  });
});

describe('a spec that somebody else touched', () => {
  const unreadable = "could not retrieve pipeline spec file from PFS for pipeline 'p'";

  it('keeps the next one out while its branch has an open commit', async () => {
    await create('p');
    const open = await stack.versioning.startCommit({ repo: '__spec__', branch: 'p' }, wait);
    const text = /^the HEAD commit of this pipeline's spec branch is open/;
    for (const change of [() => update('p'), () => pipelines.stop('p', wait)]) {
      const refused = await failure(change());
      expect(refused.code).toBe('STATE_CONFLICT');
      expect(refused.text).toMatch(text);
    }
    expect(await inspect('p')).toMatchObject({ version: 1, stopped: false });
    await stack.versioning.deleteCommit({ repo: '__spec__', id: open.id }, wait);
    await update('p');
    expect(await inspect('p')).toMatchObject({ version: 2 });
  });

  it('and can not be read is said so; updating and deleting work', async () => {
    for (const name of ['p', 'q']) await create(name);
    await stack.versioning.deleteRepo('__spec__', { force: true }, wait);
    // Nothing of it is known here.
    const deps = { ...stack, clock: systemClock, log: silentLog };
    await pipelines[Symbol.asyncDispose]();
    pipelines = await openPipelines(deps, wait);
    expect((await failure(inspect('p'))).text).toContain(unreadable);
    expect((await failure(list({ pipeline: { name: 'p' } }))).text).toContain(unreadable);
    expect((await failure(list())).text).toContain('could not retrieve pipeline spec file');
    const [q, p] = await list({ allowIncomplete: true });
    expect([q?.pipeline?.name, p?.pipeline?.name]).toEqual(['q', 'p']);
    expect(p).toMatchObject({ transform: undefined, state: PipelineState.PIPELINE_STARTING });
    await update('p');
    expect((await inspect('p')).transform).toBeDefined();
    await remove('q');
    expect(names(await list())).toEqual(['p']);
  });
});

describe('deleting', () => {
  it('takes everything but the spec commits, and gives the name back', async () => {
    await put('in', { '/a': 'x' });
    await create('p', { salt: 'one' });
    const { specCommit } = await inspect('p');
    await remove('p');
    expect(await list()).toEqual([]);
    expect((await failure(stack.versioning.inspectRepo('p', wait))).code).toBe('NOT_FOUND');
    expect((await failure(branch('__spec__', 'p'))).code).toBe('NOT_FOUND');
    expect((await branch('in')).subvenance).toEqual([]);
    const commit = { repo: '__spec__', id: specCommit?.id ?? '' };
    expect(await stack.versioning.commit(commit, wait)).toBeDefined();
    await create('p');
    expect(await inspect('p')).toMatchObject({ version: 1 });
    expect(await list({ history: -1 })).toHaveLength(1);
  });

  it('is refused while others read the output, unless forced', async () => {
    await create('a');
    await after('b', 'a');
    const refused = await failure(remove('a'));
    expect(refused.code).toBe('STATE_CONFLICT');
    expect(refused.text).toContain('as subvenance, deleting it would break those branches');
    expect(names(await list())).toEqual(['b', 'a']);
    await remove('a', { force: true });
    expect(names(await list())).toEqual(['b']);
    await remove('b');
    expect(await list()).toEqual([]);
  });

  it('can keep the repo, which a later pipeline takes over without its head', async () => {
    await put('in', { '/a': 'x' });
    await create('p');
    const head = (await branch('p')).head ?? '';
    await remove('p', { keepRepo: true });
    expect((await branch('p')).directProvenance).toEqual([]);
    const kept = await stack.versioning.resolveCommit({ repo: 'p', id: head }, wait);
    expect(kept.kind).toBe('empty');
    await create('p');
    const next = await stack.versioning.resolveCommit({ repo: 'p', id: 'master' }, wait);
    expect(next.parent).toBeUndefined();
    expect(await stack.versioning.commit({ repo: 'p', id: head }, wait)).toBeDefined();
  });

  it('of all goes from the leaves up, and a missing one is no error', async () => {
    await create('a');
    await after('b', 'a');
    await after('c', 'b');
    await pipelines.delete(DeletePipelineRequest.fromPartial({ all: true }), wait);
    expect(await list()).toEqual([]);
    await remove('never');
    await create('a');
    await after('b', 'a');
    await pipelines.deleteAll(wait);
    expect(await list()).toEqual([]);
    expect(await stack.versioning.listBranches('__spec__', { reverse: false }, wait)).toEqual([]);
    await create('a');
  });
});
