/** `tusk up` to `tusk down`, with the commands a person types in between, old and new spelling. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tempDir, type TempDir } from '../support/temp-dir.js';
import { until } from '../support/until.js';

const ROOT = join(import.meta.dirname, '../..');
const EXAMPLE = join(ROOT, 'examples/main-job');

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

let dir: TempDir;
let data = '';
let env: Record<string, string | undefined> = {};

function start(args: readonly string[], program = 'tusk'): ChildProcess {
  return spawn(join(ROOT, 'cli/bin', program), args, { cwd: dir.path, env });
}

function run(args: readonly string[], input = '', program = 'tusk'): Promise<Ran> {
  return new Promise((resolve) => {
    const file = join(ROOT, 'cli/bin', program);
    const options = { cwd: dir.path, env, maxBuffer: 2 ** 26 };
    const child = execFile(file, args, options, (error, out, err) => {
      resolve({ code: error ? Number(error.code ?? 1) : 0, out, err });
    });
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}

/** Runs a command that must succeed; words are split at spaces. */
async function tusk(line: string, input = ''): Promise<string> {
  const ran = await run(line.split(' '), input);
  expect({ line, code: ran.code, err: ran.code === 0 ? '' : ran.err }).toEqual({
    line,
    code: 0,
    err: '',
  });
  return ran.out;
}

/** Cells of a table that has no spaces inside its cells of interest. */
const rows = (text: string): string[][] =>
  text
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((row) => row.trim().split(/\s{1,}/));

const stackJson = () =>
  JSON.parse(readFileSync(join(data, 'stack.json'), 'utf8')) as {
    address: string;
    pid: number;
    parts: { name: string; pid: number }[];
  };

/** False also for a process that ended and that nobody has asked about yet. */
function runs(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !stat.slice(stat.lastIndexOf(')')).startsWith(') Z');
  } catch {
    return false;
  }
}

beforeAll(async () => {
  dir = await tempDir('cli');
  data = join(dir.path, 'stack');
  env = { ...process.env, HOME: dir.path, PACHD_ADDRESS: undefined, NO_COLOR: '1' };
  mkdirSync(join(dir.path, 'sources'));
  const more = ['--port', '0', '--workers', '4', '--local-sources', 'sources'];
  const up = await run(['up', '--detach', '--data-dir', data, ...more]);
  expect(up.err).toBe('');
  expect(up.code).toBe(0);
  env['PACHD_ADDRESS'] = stackJson().address;
});

afterAll(async () => {
  if (data !== '' && existsSync(join(data, 'stack.json'))) {
    await run(['down', '--data-dir', data]);
  }
  await dir?.[Symbol.asyncDispose]();
});

describe('files', () => {
  it('puts from files, directories, standard input and several sources, and reads back', async () => {
    mkdirSync(join(dir.path, 'tree/sub'), { recursive: true });
    writeFileSync(join(dir.path, 'tree/a.txt'), 'a\n');
    writeFileSync(join(dir.path, 'tree/.dot'), 'dot\n');
    writeFileSync(join(dir.path, 'tree/sub/b.txt'), '');
    await tusk('create repo data');
    await tusk('put file data@master -r -f tree');
    await tusk('put file data@master:in.txt', 'from stdin\n');
    await tusk('put file data@master:/p -f tree/a.txt -f tree/.dot');
    expect(await tusk('list file data@master')).toBe(
      'NAME    TYPE SIZE \n/in.txt file 11B  \n/p      dir  6B   \n/tree   dir  6B   \n',
    );
    expect(await tusk('list-file data master tree')).toBe(
      'NAME        TYPE SIZE \n/tree/.dot  file 4B   \n/tree/a.txt file 2B   \n/tree/sub   dir  0B   \n',
    );
    expect(await tusk('get-file data master in.txt')).toBe('from stdin\n');
    await tusk('get file -r data@master:tree -o back');
    expect(readFileSync(join(dir.path, 'back/sub/b.txt'), 'utf8')).toBe('');
    expect(readFileSync(join(dir.path, 'back/.dot'), 'utf8')).toBe('dot\n');
    expect(rows(await tusk('list commit data@master'))).toHaveLength(3);
    await tusk('put file data@master:in.txt', 'more\n');
    expect(await tusk('get file data@master:/in.txt')).toBe('from stdin\nmore\n');
    await tusk('put file -o data@master:in.txt', 'new\n');
    expect(await tusk('get file data@master:/in.txt')).toBe('new\n');
    const diff = await tusk('diff file data@master:in.txt --diff-command diff');
    expect(diff).toBe('1,2c1\n< from stdin\n< more\n---\n> new\n');
    expect(await tusk('diff file data@master:in.txt')).toMatch(/^(diff --git a\/|--- )old\/in.txt/);
    expect(rows(await tusk('glob file data@master:/**.txt'))).toHaveLength(4);
  });

  it('puts what lies in the directory that the stack may read', async () => {
    writeFileSync(join(dir.path, 'sources/here'), 'from the server');
    await tusk('create repo local');
    await tusk('put file local@master:/x -f local:///here');
    expect(await tusk('get file local@master:/x')).toBe('from the server');
    const { code, err } = await run(['up', '--data-dir', `${data}2`, '--local-targets', 'none']);
    expect([code, err]).toEqual([1, '--local-targets none: there is no such directory\n']);
  });

  it('puts all sources into an open commit, which appears when it is finished', async () => {
    await tusk('create-repo opened');
    const id = (await tusk('start commit opened@master')).trim();
    expect(id).toMatch(/^[0-9a-f]{32}$/);
    await tusk('put-file opened master x -c', '1');
    await tusk('finish-commit opened master');
    const page = await tusk(`inspect-commit opened ${id}`);
    expect(page).toMatch(
      new RegExp(`^Commit: opened/${id}\nStarted: .*\nFinished: .*\nSize: 1B\n$`),
    );
    expect(await tusk(`inspect commit opened@${id}`)).toContain('Original Branch: master\n');
  });

  it('stores nothing of a put that is killed', async () => {
    await tusk('create repo killed');
    const put = start(['put', 'file', 'killed@master:big']);
    put.stdin?.on('error', () => undefined);
    put.stdin?.write(Buffer.alloc(8 * 1024 * 1024, 1));
    await new Promise((resolve) => setTimeout(resolve, 500));
    const gone = new Promise((resolve) => put.once('close', resolve));
    put.kill('SIGKILL');
    await gone;
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(rows(await tusk('list commit killed'))).toEqual([]);
  });

  it('says in one line what is wrong', async () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ['put file data@master -f nope', /^open nope: no such file or directory\n$/],
      ['put file data@master -f tree', /^read tree: is a directory/],
      ['put file data@master', /^must specify filename when reading data from stdin\n$/],
      ['list file nope@master', /not found\n$/],
      ['get file data@master:/nope', /not found\b.*\n$/],
      ['create repo data', /already exists\n$/],
      ['delete repo', /^either a repo name or the --all flag needs to be provided\n$/],
      ['inspect job nope', /^error from InspectJob: .*not found\n$/],
    ];
    for (const [line, text] of cases) {
      const { code, err, out } = await run(line.split(' '));
      expect({ line, code, out }).toEqual({ line, code: 1, out: '' });
      expect(err, line).toMatch(text);
    }
  });
});

describe('pipelines', () => {
  it('runs the main job, then only what is new', async () => {
    const lines = readFileSync(join(EXAMPLE, 'weather.csv'), 'utf8').trimEnd().split('\n');
    await tusk('create repo weather');
    const split = '--split line --target-file-datums 200';
    await tusk(`put file weather@master:days ${split}`, `${lines.slice(0, 2800).join('\n')}\n`);
    await tusk(`create pipeline -f ${EXAMPLE}/monthly.json`);
    await tusk(`create-pipeline -f ${EXAMPLE}/climate.json`);
    const flushed = rows(await tusk('flush commit weather@master'));
    expect(flushed.map(([repo]) => repo).sort()).toEqual(['climate', 'monthly']);
    expect(await tusk('list job')).toContain('14 + 0 / 14');
    await tusk(`put-file weather master days ${split}`, `${lines.slice(2800).join('\n')}\n`);
    await tusk('flush-commit weather/master');
    expect(await tusk('list job -p monthly')).toContain('1 + 14 / 15');
    const table = await tusk('get file climate@master:/by-month.csv');
    expect(table.split('\n')[0]).toBe('city,month,days,rain mm,mean high C,hottest C,on');
    const days = table
      .trimEnd()
      .split('\n')
      .slice(1)
      .reduce((sum, line) => sum + Number(line.split(',')[2]), 0);
    expect(days).toBe(lines.length - 1);
    expect(await tusk('inspect commit climate@master')).toMatch(
      /Provenance: {2}__spec__@\w+ \(climate\) {2}__spec__@\w+ \(monthly\) {2}monthly@\w+ \(master\) {2}weather@\w+ \(master\) \n/,
    );
    expect(await tusk('logs -p climate')).toContain('lines in by-month.csv');
  });

  it('makes a pipeline again from its extracted spec', async () => {
    const spec = await tusk('extract pipeline monthly');
    writeFileSync(join(dir.path, 'again.json'), spec.replace('"monthly"', '"again"'));
    await tusk('create pipeline -f again.json');
    const [, , ...again] = (await tusk('extract pipeline again')).split('\n');
    const [, , ...monthly] = spec.split('\n');
    expect(again.slice(1)).toEqual(monthly.slice(1));
    await tusk('delete pipeline again');
  });

  it('creates nothing from a file with a mistake in it', async () => {
    const good = `{"pipeline":{"name":"good"},"transform":{"cmd":["true"]},"input":{"pfs":{"repo":"weather","glob":"/*"}}}`;
    const { code, err } = await run(
      ['create', 'pipeline'],
      `${good}\n${good.replace('"cmd"', '"comand"')}`,
    );
    expect(code).toBe(1);
    expect(err).toMatch(
      /^malformed pipeline spec: unknown field "comand" in pps\.Transform\n {2}at standard input:2:\d+: /,
    );
    expect(await tusk('list pipeline')).not.toContain('good');
  });
});

describe('the stack', () => {
  it('refuses a second one on the same data, and a port that is taken', async () => {
    const second = await run(['up', '--detach', '--data-dir', data, '--port', '0']);
    expect(second.code).toBe(1);
    expect(second.err).toMatch(
      /^a stack is already running on .*\nUse it as it is, or stop it with/,
    );
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const taken = await run(['up', '--data-dir', join(dir.path, 'x'), '--port', String(port)]);
    server.close();
    expect(taken.code).toBe(1);
    expect(taken.err).toMatch(
      new RegExp(`^port ${port} is taken( by .*)?\nStop that program, or `),
    );
  });

  it('names the packages to install when the servers are missing', async () => {
    const bare = join(dir.path, 'bare');
    mkdirSync(bare, { recursive: true });
    const { code, err } = await new Promise<Ran>((resolve) => {
      const args = [join(ROOT, 'cli/bin/tusk'), 'up', '--data-dir', join(dir.path, 'y')];
      const options = { env: { HOME: dir.path, PATH: bare, TUSK_PROGRAM_DIRS: bare } };
      execFile(process.execPath, args, options, (error, out, text) =>
        resolve({ code: error ? 1 : 0, out, err: text }),
      );
    });
    expect(code).toBe(1);
    expect(err).toMatch(/not found on this machine\nInstall (it|them) with/);
  });

  it('starts a part again that died, and stops everything', async () => {
    const before = stackJson();
    const coordinator = before.parts.find(({ name }) => name === 'coordinator');
    process.kill(coordinator?.pid ?? 0, 'SIGKILL');
    await until('the coordinator is back', async () => {
      const now = stackJson().parts.find(({ name }) => name === 'coordinator');
      const answers = (await run(['list', 'repo'])).code === 0;
      return answers && now !== undefined && now.pid !== coordinator?.pid;
    });
    expect(readFileSync(join(data, 'logs/stack.log'), 'utf8')).toMatch(
      /coordinator ended \(killed by SIGKILL\); starting it again in/,
    );
    const { code, out } = await run(['down', '--data-dir', data]);
    expect({ code, out }).toMatchObject({ code: 0 });
    expect(existsSync(join(data, 'stack.json'))).toBe(false);
    expect([before, ...before.parts].filter(({ pid }) => runs(pid))).toEqual([]);
    const refused = await run(['list', 'repo']);
    expect(refused.code).toBe(1);
    expect(refused.err).toMatch(
      /^could not connect to pachd at ".*": connection refused\n.*tusk up/,
    );
  });
});
