/** Git repos served over http by git's own CGI program, as a person would set it up. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { tempDir } from './temp-dir.js';

export interface GitServer extends AsyncDisposable {
  /** The repos lie here, bare. */
  readonly dir: string;
  /** Of a repo; `private` ones want a password. */
  url(repo: string): string;
  /** Makes a repo and answers a function that commits files to a branch and gives the commit's id. */
  repo(name: string): (branch: string, files: Readonly<Record<string, string>>) => string;
}

const ME = {
  ...{ GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@b', GIT_COMMITTER_NAME: 'a' },
  ...{ GIT_COMMITTER_EMAIL: 'a@b', GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' },
};

export async function startGitServer(): Promise<GitServer> {
  const dir = await tempDir('git');
  const git = (cwd: string, ...args: string[]): string =>
    execFileSync('git', args, { cwd, env: { ...process.env, ...ME }, encoding: 'utf8' }).trim();
  const server = createServer((request, response) => {
    const [path = '', query = ''] = (request.url ?? '').split('?');
    if (path.startsWith('/private')) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
      return;
    }
    const backend = spawn('git', ['http-backend'], {
      env: {
        ...{ PATH: process.env['PATH'], GIT_PROJECT_ROOT: dir.path, GIT_HTTP_EXPORT_ALL: '1' },
        ...{ PATH_INFO: decodeURIComponent(path), QUERY_STRING: query },
        ...{ REQUEST_METHOD: request.method, CONTENT_TYPE: request.headers['content-type'] ?? '' },
        ...{ HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '' },
        ...{ GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''), ...ME },
      },
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    request.pipe(backend.stdin);
    backend.stdin.on('error', () => undefined);
    const parts: Buffer[] = [];
    backend.stdout.on('data', (part: Buffer) => parts.push(part));
    backend.once('close', () => {
      const all = Buffer.concat(parts);
      const end = all.indexOf('\r\n\r\n');
      const headers = all.subarray(0, end).toString('latin1').split('\r\n');
      let status = 200;
      for (const header of headers) {
        const [name = '', value = ''] = header.split(/:\s*/, 2);
        if (name.toLowerCase() === 'status') status = Number.parseInt(value, 10);
        else if (name !== '') response.setHeader(name, value);
      }
      response.writeHead(status).end(all.subarray(end + 4));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    dir: dir.path,
    url: (repo) => `http://127.0.0.1:${port}/${repo}.git`,
    repo: (name) => {
      const bare = join(dir.path, `${name}.git`);
      const work = join(dir.path, `${name}-work`);
      git(dir.path, 'init', '-q', '--bare', bare);
      git(dir.path, 'init', '-q', work);
      return (branch, files) => {
        git(work, 'checkout', '-q', '-B', branch);
        for (const [path, text] of Object.entries(files)) {
          mkdirSync(dirname(join(work, path)), { recursive: true });
          writeFileSync(join(work, path), text);
        }
        git(work, 'add', '-A');
        git(work, 'commit', '-q', '-m', 'change');
        git(work, 'push', '-q', '-f', bare, branch);
        return git(work, 'rev-parse', 'HEAD');
      };
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await dir[Symbol.asyncDispose]();
    },
  };
}
