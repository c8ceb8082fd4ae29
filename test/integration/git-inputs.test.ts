/** Git inputs against a real git server over http: polling, webhooks, clones, and what goes wrong. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  CreatePipelineRequest,
  InspectPipelineRequest,
  PipelineState,
  type GitInput,
  type PipelineInfo,
} from '../../proto/generated/pps.js';
import { freePort } from '../support/free-port.js';
import { startGitServer, type GitServer } from '../support/git-server.js';
import { startStack, type Stack } from '../support/stack.js';
import { until } from '../support/until.js';

let stack: Stack;
let git: GitServer;

beforeAll(async () => {
  git = await startGitServer();
  const config = { webhookListen: '127.0.0.1:0', gitPollSeconds: 0, localSources: git.dir };
  stack = await startStack({ config });
}, 60_000);
afterAll(async () => {
  await stack[Symbol.asyncDispose]();
  await git[Symbol.asyncDispose]();
});

const CODE = [
  'cd /pfs/*[!t]',
  'git log -1 --format=%H > /pfs/out/commit',
  'git rev-parse --abbrev-ref HEAD > /pfs/out/branch',
  'cp *.txt /pfs/out/',
].join(' && ');

async function create(name: string, input: Partial<GitInput>): Promise<void> {
  await stack.client.createPipeline(
    CreatePipelineRequest.fromPartial({
      pipeline: { name },
      transform: { cmd: ['sh', '-c', CODE] },
      input: { git: { name: 'code', ...input } },
    }),
  );
}

const inspect = (name: string): Promise<PipelineInfo> =>
  stack.client.call(
    stack.client.pps.inspectPipeline.bind(stack.client.pps),
    InspectPipelineRequest.fromPartial({ pipeline: { name } }),
  );

const state = (name: string, wanted: PipelineState): Promise<PipelineInfo> =>
  until(`${name} is ${PipelineState[wanted]}`, async () => {
    const info = await inspect(name);
    return info.state === wanted && info;
  });

async function push(body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`http://127.0.0.1:${stack.ready.webhookPort}/v1/handle/push`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

describe('a git input', () => {
  it('runs on a clone of the branch, and again when a look finds a new commit', async () => {
    const commit = git.repo('polled');
    const first = commit('main', { 'a.txt': 'one\n' });
    const pollInterval = { seconds: 1, nanos: 0 };
    await create('polled', { name: 'code', url: git.url('polled'), branch: 'main', pollInterval });
    const one = await stack.client.ended('polled');
    expect(one.reason).toBe('');
    expect(await stack.client.files('polled', 'master')).toEqual({
      '/a.txt': 'one\n',
      '/branch': 'main\n',
      '/commit': `${first}\n`,
    });
    const payload = JSON.parse(
      (await stack.client.files('code', 'main'))['/commit.json'] ?? '',
    ) as object;
    expect(payload).toMatchObject({ ref: 'refs/heads/main', after: first });
    const second = commit('main', { 'a.txt': 'two\n', 'b.txt': 'new\n' });
    await stack.client.ended('polled', 2);
    expect(await stack.client.files('polled', 'master')).toMatchObject({
      '/a.txt': 'two\n',
      '/b.txt': 'new\n',
      '/commit': `${second}\n`,
    });
    expect(await stack.client.jobs('polled')).toHaveLength(2);
  });

  it('runs when a webhook tells of a push to its branch, once', async () => {
    const commit = git.repo('hooked');
    const url = git.url('hooked');
    commit('master', { 'a.txt': 'old' });
    await create('hooked', { name: 'hook', url });
    // The look at the start is over: from now on only webhooks tell.
    await stack.client.ended('hooked');
    const other = commit('side', { 'a.txt': 'side' });
    const after = commit('master', { 'a.txt': 'x' });
    const event = (ref: string, id: string) => ({ ref, after: id, repository: { clone_url: url } });
    const answer = async (body: unknown, headers = {}): Promise<unknown> =>
      (await push(body, headers)).json();
    expect(await answer(event('refs/heads/side', other))).toEqual({ commits: 0 });
    expect(await answer(event('refs/heads/master', '0'.repeat(40)))).toEqual({ commits: 0 });
    expect(await answer({ zen: 'hi' }, { 'x-github-event': 'ping' })).toEqual({ commits: 0 });
    const form = `payload=${encodeURIComponent(JSON.stringify(event('refs/heads/master', after)))}`;
    const type = { 'content-type': 'application/x-www-form-urlencoded' };
    expect(await answer(form, type)).toEqual({ commits: 1 });
    expect(await answer(event('refs/heads/master', after))).toEqual({ commits: 0 });
    await stack.client.ended('hooked', 2);
    expect(await stack.client.files('hooked', 'master')).toMatchObject({ '/commit': `${after}\n` });
    expect(await stack.client.commits('hook')).toHaveLength(2);
    expect((await push('{')).status).toBe(400);
    expect((await push({ ref: 'x' })).status).toBe(400);
    const elsewhere = await fetch(`http://127.0.0.1:${stack.ready.webhookPort}/v1/other`);
    expect(elsewhere.status).toBe(404);
  });

  it('is what a service serves, until the next push', async () => {
    const commit = git.repo('site');
    commit('master', { 'a.txt': 'one' });
    const port = await freePort();
    const input = { git: { name: 'site', url: git.url('site'), pollInterval: { seconds: 1 } } };
    const cmd = ['python3', '-m', 'http.server', String(port), '-d', '/pfs/site'];
    await stack.client.createPipeline(
      CreatePipelineRequest.fromPartial({
        pipeline: { name: 'serves' },
        transform: { cmd },
        input,
        service: { internalPort: port, externalPort: port },
      }),
    );
    const shows = (wanted: string): Promise<unknown> =>
      until(`${wanted} is served`, async () => {
        const answer = await fetch(`http://127.0.0.1:${port}/a.txt`).catch(() => undefined);
        return (await answer?.text()) === wanted;
      });
    await shows('one');
    commit('master', { 'a.txt': 'two' });
    await shows('two');
    await stack.tusk(['delete', 'pipeline', 'serves']);
  });

  it('reads file urls below the directory that the settings name', async () => {
    git.repo('filed')('master', { 'a.txt': 'local' });
    await create('filed', { name: 'code', url: `file://${git.dir}/filed.git` });
    await stack.client.ended('filed');
    expect(await stack.client.files('filed', 'master')).toMatchObject({ '/a.txt': 'local' });
    await create('outsider', { name: 'outside', url: 'file:///etc/x.git' });
    const { reason } = await state('outsider', PipelineState.PIPELINE_CRASHING);
    expect(reason).toMatch(/^git input "outside": cannot read file:\/\/\/etc\/x.git: /);
  });

  it('fails the pipeline for a private repo, and waits for one that is not there yet', async () => {
    await create('secret', { name: 'secretcode', url: git.url('private') });
    const failed = await state('secret', PipelineState.PIPELINE_FAILURE);
    expect(failed.reason).toBe(`unable to clone private github repo (${git.url('private')})`);
    const url = git.url('later');
    await create('later', { name: 'latercode', url });
    const { reason } = await state('later', PipelineState.PIPELINE_CRASHING);
    expect(reason).toContain(`git input "latercode": cannot read the git repo ${url}: `);
    git.repo('later')('master', { 'a.txt': 'x' });
    await state('later', PipelineState.PIPELINE_RUNNING);
    expect(await stack.client.list('latercode', 'master')).toEqual(['/commit.json']);
  });
});
