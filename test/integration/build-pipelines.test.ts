/** Pipelines whose code is built from a directory: what is uploaded, built, run and run again. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { JobState } from '../../proto/generated/pps.js';
import { runCli } from '../support/cli-run.js';
import { startStack, type Stack } from '../support/stack.js';

let stack: Stack;
let dir = '';

beforeAll(async () => {
  stack = await startStack();
  dir = join(stack.dir, 'code');
  await stack.client.createRepo('in');
  await stack.client.put('in', { '/a': 'x', '/b': 'y' });
}, 60_000);
afterAll(async () => {
  await stack[Symbol.asyncDispose]();
});

function write(files: Record<string, string>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
}

/** A spec beside the directory NAME with its source. */
function spec(name: string, build: object, more: object = {}): string {
  const file = join(dir, `${name}.json`);
  const input = { pfs: { repo: 'in', glob: '/*' } };
  const transform = { build: { path: name, ...build } };
  const text = JSON.stringify({ pipeline: { name }, transform, input, ...more });
  write({ [`${name}.json`]: text });
  return file;
}

async function tusk(line: string): Promise<{ code: number; text: string }> {
  const env = { HOME: stack.dir, PACHD_ADDRESS: stack.address };
  const { code, stdout, stderr } = await runCli(line.split(' '), { env });
  return { code, text: (stdout + stderr).trimEnd() };
}
async function ok(line: string): Promise<string> {
  const { code, text } = await tusk(line);
  expect(code, text).toBe(0);
  return text;
}
const commits = async (repo: string): Promise<number> => (await stack.client.commits(repo)).length;

/** A wheel is a zip file with a few lines about itself. */
const WHEEL = `
import sys, zipfile
info = 'louder-1.0.dist-info/'
with zipfile.ZipFile(sys.argv[1] + '/louder-1.0-py3-none-any.whl', 'w') as z:
    z.writestr('louder.py', 'def loud(text): return text + "!"')
    z.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: louder\\nVersion: 1.0\\n')
    z.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    z.writestr(info + 'RECORD', '')
`;

const MAIN = `
import os, helper, louder
for name in os.listdir('/pfs/in'):
    with open('/pfs/in/' + name) as f, open('/pfs/out/' + name, 'w') as o:
        o.write(louder.loud(helper.shout(f.read())))
`;

describe('a python directory', () => {
  it('is uploaded without what .pachignore names, built with its requirements, and run', async () => {
    write({
      'shouts/main.py': MAIN,
      'shouts/helper.py': 'def shout(text): return text.upper()\n',
      'shouts/requirements.txt': './louder-1.0-py3-none-any.whl\n',
      'shouts/.pachignore': '*.log\ndata/\n!keep.log\n',
      'shouts/noise.log': 'x',
      'shouts/keep.log': 'x',
      'shouts/data/big': 'x',
      'shouts/__pycache__/helper.pyc': 'x',
    });
    execFileSync('python3', ['-c', WHEEL, join(dir, 'shouts')]);
    expect(await ok(`create pipeline -f ${spec('shouts', { language: 'python' })}`)).toBe(
      '5 files of shouts uploaded; pipeline shouts_build builds the code of shouts',
    );
    expect((await stack.client.ended('shouts')).reason).toBe('');
    expect(await stack.client.files('shouts', 'master')).toEqual({ '/a': 'X!', '/b': 'Y!' });
    expect(await stack.client.list('shouts_build', 'source')).toEqual([
      ...['/helper.py', '/keep.log', '/louder-1.0-py3-none-any.whl', '/main.py'],
      '/requirements.txt',
    ]);
    expect(await ok('list pipeline')).toMatch(
      /\nshouts +1 +\(shouts_build:\/ ⨯ in:\/\* ⨯ shouts_build:\/\) .*\nshouts_build +1 +shouts_build:\/ /,
    );
    expect(await ok('extract pipeline shouts')).not.toContain('"build": {');
  });

  it('is built again only when it changed', async () => {
    const built = await commits('shouts_build');
    expect(await ok(`update pipeline -f ${join(dir, 'shouts.json')}`)).toBe(
      'shouts has not changed; pipeline shouts_build builds the code of shouts',
    );
    const same = await stack.client.ended('shouts', 2);
    expect(same).toMatchObject({ state: JobState.JOB_SUCCESS, dataSkipped: 2, dataProcessed: 0 });
    // The new specs' commit, and none of source.
    expect(await commits('shouts_build')).toBe(built + 1);
    write({ 'shouts/helper.py': 'def shout(text): return text * 3\n' });
    rmSync(join(dir, 'shouts', 'keep.log'));
    await ok(`update pipeline -f ${join(dir, 'shouts.json')}`);
    const changed = await stack.client.ended('shouts', 3);
    expect(changed).toMatchObject({ state: JobState.JOB_SUCCESS, dataProcessed: 2 });
    expect(await stack.client.files('shouts', 'master')).toEqual({ '/a': 'xxx!', '/b': 'yyy!' });
    expect(await stack.client.list('shouts_build', 'source')).not.toContain('/keep.log');
  });
});

describe('other directories', () => {
  it('are built by their own build.sh, which says how they run', async () => {
    const code = "echo 'cat /pfs/in/* /pfs/source/tail > /pfs/out/all' > /pfs/out/run.sh";
    write({ 'own/build.sh': code, 'own/tail': '!' });
    const whole = { input: { pfs: { repo: 'in', glob: '/' } } };
    await ok(`create pipeline -f ${spec('own', {}, whole)}`);
    await stack.client.ended('own');
    expect(await stack.client.files('own', 'master')).toEqual({ '/all': 'xy!' });
  });

  it('may be node programs', async () => {
    write({
      'counts/package.json': '{ "main": "count.js" }',
      'counts/count.js':
        "const fs = require('fs');\n" +
        "const names = fs.readdirSync('/pfs/in');\n" +
        "fs.writeFileSync('/pfs/out/' + names[0], String(names.length));\n",
    });
    await ok(`create pipeline -f ${spec('counts', { language: 'node' })}`);
    expect((await stack.client.ended('counts')).reason).toBe('');
    expect(await stack.client.files('counts', 'master')).toEqual({ '/a': '1', '/b': '1' });
  });

  it('tell why they can not be built', async () => {
    write({ 'broken/other.py': '' });
    await ok(`create pipeline -f ${spec('broken', { language: 'python' })}`);
    const failed = await stack.client.ended('broken_build');
    expect(failed.reason).toContain('no main.py in the source directory');
    expect((await stack.client.ended('broken')).reason).toContain('inputs build');
  });
});

describe('what can not be', () => {
  it.each<[string, object, object, string]>([
    ['an unknown language', { language: 'cobol' }, {}, 'language "cobol" is not known; use one of'],
    ['a missing directory', { path: 'nowhere' }, {}, '/nowhere is not a directory'],
    ['an empty directory', { path: 'empty' }, {}, '/empty holds no files'],
    ['no input', {}, { input: null }, 'transform.build needs an input'],
    [
      'an input that is in the way',
      {},
      { input: { cross: [{ pfs: { repo: 'in', name: 'build', glob: '/' } }] } },
      'transform.build adds inputs named "source" and "build"; give the input "build" another',
    ],
    [
      'a repo that is not there',
      {},
      { input: { pfs: { repo: 'none', glob: '/' } } },
      '/pachyderm_pfs/repos/ none not found',
    ],
  ])('is refused and leaves nothing: %s', async (_what, build, more, text) => {
    write({ 'bad/run.sh': 'true' });
    mkdirSync(join(dir, 'empty'), { recursive: true });
    const answer = await tusk(`create pipeline -f ${spec('bad', build, more)}`);
    expect(answer).toMatchObject({ code: 1, text: expect.stringContaining(text) as string });
    expect(answer.text).not.toContain('error running request');
    expect(await ok('list repo')).not.toContain('bad');
    expect(await ok('list pipeline')).not.toContain('bad');
  });

  it('keeps a former source when an update is refused', async () => {
    const source = join(dir, 'own.json');
    const before = await commits('own_build');
    write({ 'own/tail': '?' });
    expect(await tusk(`create pipeline -f ${source}`)).toEqual({
      code: 1,
      text: 'pipeline own already exists',
    });
    expect(await commits('own_build')).toBe(before);
    expect(await stack.client.files('own_build', 'source')).toMatchObject({ '/tail': '!' });
  });

  it('is not put off in a transaction', async () => {
    await ok('start transaction');
    const answer = await tusk(`update pipeline -f ${join(dir, 'own.json')}`);
    expect(answer.text).toContain('cannot wait in a transaction; finish or stop the transaction');
    await ok('delete transaction');
  });
});
