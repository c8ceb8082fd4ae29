/** Images through a real podman: pulled or imported, unpacked once, run in the slot's sandbox. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NEVER } from '../../core/signals.js';
import { findEngine } from '../../worker/engine.js';
import { importImage, podman } from '../support/image.js';
import { openTaskBench, type TaskBench } from '../support/task-bench.js';
import { tempDir, type TempDir } from '../support/temp-dir.js';

const IMAGE = `localhost/tusk-test-${process.pid}:1`;
let bench: TaskBench;
let table: TempDir;

beforeAll(async () => {
  table = await tempDir('table');
  await importImage(IMAGE);
  const engine = await findEngine('podman', { signal: NEVER });
  const file = join(table.path, 'images.json');
  mkdirSync(join(table.path, 'code'));
  writeFileSync(join(table.path, 'code/hello'), '#!/bin/sh\necho hello from the code\n', {
    mode: 0o755,
  });
  const shown = {
    mounts: { '/my-code': join(table.path, 'code') },
    env: { PATH: '/my-code:/bin' },
  };
  const rules = [
    { pattern: 'on-the-host/*', as: 'host', ...shown },
    { pattern: IMAGE, as: 'container' },
  ];
  writeFileSync(file, JSON.stringify({ images: rules }));
  bench = await openTaskBench({ engine, imageTable: file });
});
afterAll(async () => {
  await bench[Symbol.asyncDispose]();
  await table[Symbol.asyncDispose]();
  podman('rmi', IMAGE);
});

const datums = async () => [
  [{ name: 'my-in', path: '/f', tree: await bench.tree({ f: 'content\n' }) }],
];

describe('an image', () => {
  it('gives its files, ENV, USER, WORKDIR and ENTRYPOINT', async () => {
    const entry = await bench.run({ transform: { image: IMAGE }, datums: await datums() });
    expect((await bench.details(entry))[0]?.reason).toBeUndefined();
    expect(await bench.userLines(entry)).toEqual(['inside']);
    const script = 'id -un; pwd; echo $GREETING $MINE $HOME; ls /; cat /pfs/my-in/f > /pfs/out/f';
    const run = await bench.run({
      transform: {
        image: IMAGE,
        cmd: ['sh', '-c', script],
        env: { MINE: '$(GREETING)!' },
      },
      datums: await datums(),
    });
    const lines = await bench.userLines(run);
    expect(lines.slice(0, 3)).toEqual(['app', '/srv', 'hello hello! /home/app']);
    expect(lines).toContain('srv');
    expect(lines).not.toContain('home');
    expect(await bench.output(run)).toEqual({ '/f': 'content\n' });
    const env = await bench.run({
      transform: { image: IMAGE, cmd: ['env'] },
      datums: await datums(),
    });
    expect(await bench.userLines(env)).toContain('my-in=/pfs/my-in/f');
    const own = await bench.run({
      transform: {
        image: IMAGE,
        cmd: ['sh', '-c', 'id -u; pwd'],
        user: 'root',
        workingDir: '/etc',
      },
      datums: await datums(),
    });
    expect(await bench.userLines(own)).toEqual(['0', '/etc']);
    const nobody = await bench.run({
      transform: { image: IMAGE, cmd: ['true'], user: 'nemo' },
      datums: await datums(),
    });
    expect((await bench.details(nobody))[0]?.reason).toBe('user nemo not found');
  });

  it('may be written to; what one pipeline wrote is not in the image', async () => {
    const write = await bench.run({
      transform: { image: IMAGE, user: 'root', cmd: ['sh', '-c', 'echo x > /srv/new; ls /srv'] },
      datums: await datums(),
    });
    expect(await bench.userLines(write)).toEqual(['build.sh', 'new', 'of-the-image']);
    const host = await bench.run({ transform: { cmd: ['true'] }, datums: await datums() });
    expect(host.result.processed).toBe(1);
    const again = await bench.run({
      transform: { image: IMAGE, cmd: ['ls', '/srv'] },
      datums: await datums(),
    });
    expect(await bench.userLines(again)).toEqual(['build.sh', 'of-the-image']);
  });

  it('may stand for the host with directories and variables of the image table', async () => {
    const cmd = ['sh', '-c', 'hello; touch /my-code/x || echo read-only; cat /pfs/my-in/f'];
    const run = await bench.run({
      transform: { image: 'on-the-host/app:1', cmd },
      datums: await datums(),
    });
    const lines = await bench.userLines(run);
    expect(lines[0]).toBe('hello from the code');
    expect(lines).toContain('read-only');
    expect(lines.at(-1)).toBe('content');
    const other = await bench.run({
      transform: { cmd: ['sh', '-c', 'ls -d /my-code; command -v hello'] },
      datums: await datums(),
    });
    expect((await bench.userLines(other)).join()).not.toContain('hello');
  });

  it('keeps datums apart and costs them no container start', async () => {
    const many = Array.from({ length: 20 }, async () => (await datums())[0] ?? []);
    const run = await bench.run({
      transform: { image: IMAGE, cmd: ['sh', '-c', 'ls /tmp; touch /tmp/left; sleep 405 &'] },
      datums: await Promise.all(many),
    });
    expect(run.result.processed).toBe(20);
    expect(await bench.userLines(run)).toEqual([]);
    expect(bench.processes(/sleep 405/)).toEqual([]);
    // A container takes 100 ms to start and as long to enter.
    expect(run.result.stats.processMs / 20).toBeLessThan(100);
  });

  it('that a registry could not be asked for runs on the host, and the log says so', async () => {
    const run = await bench.run({
      transform: {
        image: 'registry.invalid/nothing:1',
        cmd: ['sh', '-c', 'ls -d /etc/debian_version'],
      },
      datums: await datums(),
    });
    const text = (await bench.lines(run)).map(({ message }) => message).join('\n');
    expect(text).toMatch(
      /image registry.invalid\/nothing:1 could not be pulled: .*; its commands run on the host/,
    );
    expect(run.result.unrunnable).toBeUndefined();
  });

  it('without a shell can not run: every datum fails and the pipeline is told', async () => {
    await using dir = await tempDir('image');
    writeFileSync(join(dir.path, 'file'), 'x');
    execFileSync('tar', ['-C', dir.path, '-cf', join(dir.path, 'i.tar'), 'file']);
    const name = `${IMAGE}-bare`;
    podman('import', join(dir.path, 'i.tar'), name);
    const run = await bench.run({ transform: { image: name, cmd: ['x'] }, datums: await datums() });
    podman('rmi', name);
    expect(run.result.failed).toBe(1);
    expect(run.result.unrunnable).toMatch(/has no \/bin\/sh/);
  });
});
