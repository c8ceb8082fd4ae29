/** The HTTP API: files by commit and path, the login cookie, 404 for the rest. */
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startStack, type Stack } from '../support/stack.js';

let stack: Stack;
let base = '';

beforeAll(async () => {
  stack = await startStack({ workers: 0, config: { httpListen: '127.0.0.1:0' } });
  base = `http://127.0.0.1:${stack.ready.httpPort}`;
  await stack.client.createRepo('data');
  await stack.client.put('data', { '/dir/a b.txt': 'first', '/page.html': '<b>', '/raw': 'x' });
  await stack.client.put('data', { '/dir/a b.txt': ' second' });
});
afterAll(() => stack[Symbol.asyncDispose]());

const FILE = '/v1/pfs/repos/data/commits/master/files/dir/a%20b.txt';

const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
  fetch(base + path, { method, headers });

describe('files', () => {
  it('come with type, time and tag', async () => {
    const answer = await get(FILE);
    expect(answer.status).toBe(200);
    expect(await answer.text()).toBe('first second');
    expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(answer.headers.get('content-length')).toBe('12');
    expect(answer.headers.get('content-disposition')).toBeNull();
    const { stdout } = await stack.tusk(['inspect', 'commit', 'data@master', '--raw']);
    const finished = (JSON.parse(stdout) as { finished: string }).finished;
    const modified = Date.parse(answer.headers.get('last-modified') ?? '');
    expect(modified).toBe(Math.floor(Date.parse(finished) / 1000) * 1000);
    const head = await get(FILE, {}, 'HEAD');
    expect(head.headers.get('etag')).toBe(answer.headers.get('etag'));
    expect(head.headers.get('content-length')).toBe('12');
    expect(await head.text()).toBe('');
    const raw = await get('/v1/pfs/repos/data/commits/master/files/raw');
    expect(raw.headers.get('content-type')).toBe('application/octet-stream');
  });

  it('are named by any commit reference', async () => {
    const older = await get(FILE.replace('master', encodeURIComponent('master^')));
    expect(await older.text()).toBe('first');
    const [newest = ''] = await stack.client.commits('data');
    expect(await (await get(FILE.replace('master', newest))).text()).toBe('first second');
    expect(await (await get(FILE.replace('master', 'master.1'))).text()).toBe('first');
  });

  it('come in ranges and under conditions', async () => {
    const part = await get(FILE, { range: 'bytes=6-8' });
    expect([part.status, await part.text()]).toEqual([206, 'sec']);
    expect(part.headers.get('content-range')).toBe('bytes 6-8/12');
    const none = await get(FILE, { range: 'bytes=12-' });
    expect([none.status, none.headers.get('content-range')]).toEqual([416, 'bytes */12']);
    const whole = await get(FILE);
    const etag = whole.headers.get('etag') ?? '';
    const time = whole.headers.get('last-modified') ?? '';
    expect((await get(FILE, { 'if-none-match': etag })).status).toBe(304);
    expect((await get(FILE, { 'if-modified-since': time })).status).toBe(304);
    expect((await get(FILE, { 'if-match': '"no"' })).status).toBe(412);
    const changed = await get(FILE, { range: 'bytes=0-1', 'if-range': '"no"' });
    expect(changed.status).toBe(200);
  });

  it('are downloads when asked for, and pages can do no harm', async () => {
    const answer = await get(`${FILE}?download=true`);
    expect(answer.headers.get('content-disposition')).toBe('attachment; filename="a b.txt"');
    const page = await get('/v1/pfs/repos/data/commits/master/files/page.html');
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(page.headers.get('content-security-policy')).toBe('sandbox');
    expect(page.headers.get('x-content-type-options')).toBe('nosniff');
  });

  it('that are not there are 404, requests that make no sense 400, in the words of gRPC', async () => {
    const answer = async (path: string): Promise<[number, string]> => {
      const response = await get(path);
      return [response.status, await response.text()];
    };
    const of = (repo: string, commit: string, path: string): string =>
      `/v1/pfs/repos/${repo}/commits/${commit}/files/${path}`;
    const [status, text] = await answer(of('data', 'master', 'none'));
    expect(status).toBe(404);
    expect(text).toMatch(/^file \/none not found in repo data at commit [0-9a-f]{32}\n$/);
    expect((await answer(of('data', 'master', 'dir')))[0]).toBe(404);
    expect(await answer(of('none', 'master', 'x'))).toEqual([
      404,
      '/pachyderm_pfs/branches/none/ master not found\n',
    ]);
    expect((await answer(of('data', 'master%5E%7E', 'x')))[0]).toBe(400);
    expect((await answer(of('data', 'master', '%zz')))[0]).toBe(400);
  });
});

describe('the rest', () => {
  const post = (path: string, body = ''): Promise<Response> =>
    fetch(base + path, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });

  it('logs in and out by cookie', async () => {
    const login = await post('/v1/auth/login', 'Token=abc123');
    expect(login.status).toBe(200);
    expect(login.headers.get('set-cookie')).toBe('authn-token=abc123; path=/');
    expect(login.headers.get('access-control-allow-origin')).toBe('*');
    for (const body of ['', 'Token=', 'Other=x']) {
      const refused = await post('/v1/auth/login', body);
      expect([refused.status, await refused.text()]).toEqual([400, 'empty token provided\n']);
    }
    expect((await post('/v1/auth/login', 'Token=a%0d%0ab')).status).toBe(400);
    const logout = await post('/v1/auth/logout');
    expect(logout.headers.get('set-cookie')).toMatch(/^authn-token=; path=\/; max-age=0$/);
  });

  it('is not found', async () => {
    for (const path of [
      '/',
      '/v1',
      '/v1/pfs/repos/data',
      '/v1/auth/login',
      '/v2/x',
      FILE + '/x/y',
    ]) {
      expect((await get(path)).status).toBe(404);
    }
    expect((await post(FILE)).status).toBe(404);
  });

  it('survives what is no HTTP', async () => {
    const broken = await new Promise<number | string | undefined>((resolve) => {
      const options = { port: stack.ready.httpPort, method: 'GET', path: '/%00%ff' };
      const call = request(options, (response) => resolve(response.statusCode));
      call.on('error', (error) => resolve(error.message));
      call.end();
    });
    expect(broken).toBe(404);
  });
});
