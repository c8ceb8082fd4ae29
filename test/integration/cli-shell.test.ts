/** Repos as a local directory, and completion as bash asks for it. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tempDir, type TempDir } from '../support/temp-dir.js';
import { until } from '../support/until.js';

const ROOT = join(import.meta.dirname, '../..');
const TUSK = join(ROOT, 'cli/bin/tusk');
const exec = promisify(execFile);

let dir: TempDir;
let env: NodeJS.ProcessEnv = {};
let at = '';

const tusk = async (...args: string[]): Promise<string> =>
  (await exec(TUSK, args, { cwd: dir.path, env, maxBuffer: 2 ** 26 })).stdout;

beforeAll(async () => {
  dir = await tempDir();
  env = { ...process.env, HOME: dir.path, PATH: `${join(ROOT, 'cli/bin')}:${process.env['PATH']}` };
  delete env['PACHD_ADDRESS'];
  const data = join(dir.path, 'd');
  await tusk('up', '--data-dir', data, '--port', '0', '--workers', '1', '--detach');
  const stack = JSON.parse(readFileSync(join(data, 'stack.json'), 'utf8')) as { address: string };
  env['PACHD_ADDRESS'] = stack.address;
  at = join(dir.path, 'mnt');
  mkdirSync(at);
  mkdirSync(join(dir.path, 'in/sub'), { recursive: true });
  await writeFile(join(dir.path, 'in/a.txt'), 'one\n');
  await writeFile(join(dir.path, 'in/sub/b c.txt'), 'two\n');
  await writeFile(join(dir.path, 'in/big'), Buffer.alloc(5_000_000, 'abcdefg'));
  await tusk('create', 'repo', 'photos');
  await tusk('create', 'repo', 'phrases');
  await tusk('put', 'file', 'photos@master:/', '-r', '-f', 'in');
});

afterAll(async () => {
  await tusk('down', '--data-dir', join(dir.path, 'd'));
  await dir[Symbol.asyncDispose]();
});

interface Mount {
  readonly child: ChildProcess;
  readonly said: () => string;
  readonly ended: Promise<number | null>;
}

async function mount(...flags: string[]): Promise<Mount> {
  const child = spawn(TUSK, ['mount', at, ...flags], { cwd: dir.path, env });
  let text = '';
  child.stderr.on('data', (part) => (text += String(part)));
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
  await until('the mount says so', () => text.includes('Unmount it') || child.exitCode !== null);
  return { child, said: () => text, ended };
}

/** Machines without FUSE (some containers) refuse; that is then what has to be right. */
function hasFuse(): boolean {
  try {
    closeSync(openSync('/dev/fuse', 'r+'));
    return true;
  } catch {
    return false;
  }
}

describe.runIf(!hasFuse())('mount where there is no FUSE', () => {
  it('says what is missing', async () => {
    await expect(tusk('mount', at)).rejects.toThrow(/FUSE|fusermount3/);
  });
});

describe.runIf(hasFuse())('mount', () => {
  it('shows the commit of the moment, whole and byte for byte, and refuses writes', async () => {
    const { ended } = await mount('-r', 'photos');
    expect(readdirSync(at)).toEqual(['photos']);
    await tusk('delete', 'file', 'photos@master:/a.txt');
    expect(readdirSync(join(at, 'photos')).sort()).toEqual(['a.txt', 'big', 'sub']);
    expect(await readFile(join(at, 'photos/sub/b c.txt'), 'utf8')).toBe('two\n');
    const big = await readFile(join(at, 'photos/big'));
    expect(big.equals(await readFile(join(dir.path, 'in/big')))).toBe(true);
    await expect(writeFile(join(at, 'photos/new'), 'x')).rejects.toThrow(/EROFS/);
    await expect(readFile(join(at, 'photos/none'))).rejects.toThrow(/ENOENT/);
    await tusk('unmount', at);
    expect(await ended).toBe(0);
    expect(readdirSync(at)).toEqual([]);
  });

  it('commits what was written, changed, moved and removed, as one commit', async () => {
    const before = (await tusk('list', 'commit', 'photos')).trimEnd().split('\n').length;
    const { child, ended, said } = await mount('-r', 'photos+w', '-r', 'phrases@dev+w');
    const photos = join(at, 'photos');
    await writeFile(join(photos, 'new.txt'), 'new\n');
    await appendFile(join(photos, 'sub/b c.txt'), 'more\n');
    mkdirSync(join(photos, 'made'));
    await writeFile(join(photos, 'made/x'), 'x');
    renameSync(join(photos, 'big'), join(photos, 'moved'));
    await writeFile(join(photos, 'gone.txt'), 'y');
    rmSync(join(photos, 'gone.txt'));
    await writeFile(join(at, 'phrases/hello'), '');
    expect(readdirSync(photos).sort()).toEqual(['made', 'moved', 'new.txt', 'sub']);
    child.kill('SIGINT');
    expect(await ended).toBe(0);
    expect(said()).toContain('committed to photos@master: 4 written');
    const files = await tusk('glob', 'file', 'photos@master:**');
    expect(files.match(/^\S[^ ]*( c\.txt)?/gm)).toEqual(
      expect.arrayContaining(['/made/x', '/moved', '/new.txt', '/sub/b c.txt']),
    );
    expect(files).not.toMatch(/\/big|\/gone/);
    expect(await tusk('get', 'file', 'photos@master:/sub/b c.txt')).toBe('two\nmore\n');
    expect(await tusk('list', 'file', 'phrases@dev')).toMatch(/\/hello file 0B/);
    const after = (await tusk('list', 'commit', 'photos')).trimEnd().split('\n').length;
    expect(after - before).toBe(1);
  });

  it('keeps the files and says where when a repo refuses them', async () => {
    const { ended, said } = await mount('-r', 'phrases@dev+w');
    await writeFile(join(at, 'phrases/kept'), 'kept\n');
    await tusk('delete', 'repo', 'phrases');
    await tusk('unmount', at);
    expect(await ended).toBe(1);
    const kept = /\/kept is kept in (\S+)/.exec(said())?.[1] ?? '';
    expect(readFileSync(kept, 'utf8')).toBe('kept\n');
    rmSync(join(kept, '..'), { recursive: true });
  });

  it('refuses what can not be mounted, and leaves nothing mounted', async () => {
    await expect(tusk('mount', join(dir.path, 'nowhere'))).rejects.toThrow(/make the directory/);
    await expect(tusk('mount', at, '-r', 'nothing')).rejects.toThrow(/nothing not found/);
    await expect(tusk('unmount', at)).rejects.toThrow(/is not mounted/);
    expect(existsSync(join(at, 'photos'))).toBe(false);
  });
});

describe('completion in bash', () => {
  const complete = async (line: string, words: string): Promise<string[]> => {
    const script = `source <(tusk completion bash)
COMP_LINE='${line}' COMP_POINT=${line.length} COMP_WORDS=(${words})
COMP_CWORD=$(( \${#COMP_WORDS[@]} - 1 ))
_tusk_complete 2>/dev/null; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout } = await exec('bash', ['-c', script], { env, cwd: dir.path });
    return stdout.trimEnd().split('\n');
  };

  it('completes repos, branches and paths, without the part bash keeps', async () => {
    expect(await complete('tusk list file pho', 'tusk list file pho')).toEqual(['photos@']);
    expect(await complete('tusk list file photos@m', 'tusk list file photos @ m')).toEqual([
      '@master:',
    ]);
    expect(
      await complete('tusk list file photos@master:/s', 'tusk list file photos @ master : /s'),
    ).toEqual(['/sub/']);
    expect(await complete('tusk list-file photos ma', 'tusk list-file photos ma')).toEqual([
      'master',
    ]);
  });
});
