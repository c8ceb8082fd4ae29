import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { systemClock } from '../core/clock.js';
import { silentLog } from '../core/log.js';
import { NEVER } from '../core/signals.js';
import { tempDir } from '../test/support/temp-dir.js';
import { qualified, readConfig } from './engine.js';
import { readImageTable, ruleFor } from './image-table.js';
import { Images } from './images.js';

const wait = { signal: NEVER };

it('takes short names for those of Docker Hub', () => {
  expect(
    ['ubuntu:16.04', 'me/app', 'localhost/x:1', 'r.io/a/b', 'host:5000/x'].map(qualified),
  ).toEqual([
    'docker.io/library/ubuntu:16.04',
    'docker.io/me/app',
    'localhost/x:1',
    'r.io/a/b',
    'host:5000/x',
  ]);
});

it('reads what an engine says about an image', () => {
  const text = JSON.stringify([
    { Id: 'sha256:ab', Config: { Env: ['A=1=2', 'B'], User: 'app', Entrypoint: null } },
  ]);
  expect(readConfig(text)).toEqual({
    id: 'ab',
    env: { A: '1=2', B: '' },
    user: 'app',
    workingDir: '',
    entrypoint: [],
  });
});

it('goes by the first rule that fits, and says what is wrong in a table', async () => {
  await using dir = await tempDir('images');
  const file = join(dir.path, 'images.json');
  const table = (value: unknown): string => {
    writeFileSync(file, JSON.stringify(value));
    return file;
  };
  const rootfs = join(dir.path, 'root');
  mkdirSync(join(rootfs, 'bin'), { recursive: true });
  writeFileSync(join(rootfs, 'bin/sh'), '');
  const rules = [
    { pattern: 'secret/*', as: 'unknown' },
    { pattern: 'py:3.*', as: { rootfs }, user: 'app', workingDir: '/w', entrypoint: ['x'] },
    { pattern: 'py:*', as: 'host' },
  ];
  table({ images: rules });
  expect(ruleFor(readImageTable(file), 'py:3.9')).toEqual(rules[1]);
  expect(ruleFor(readImageTable(file), 'py:2')).toEqual(rules[2]);
  expect(ruleFor(readImageTable(file), 'py3.9')).toBeUndefined();
  const images = new Images({
    engine: undefined,
    dir: dir.path,
    tableFile: file,
    roots: true,
    mounts: true,
    log: silentLog,
    clock: systemClock,
  });
  expect(await images.resolve('py:3.9', wait)).toEqual({
    ...{ rootfs, env: {}, user: 'app', workingDir: '/w', entrypoint: ['x'] },
  });
  expect((await images.resolve('anything', wait)).rootfs).toBeUndefined();
  await expect(images.resolve('secret/x', wait)).rejects.toMatchObject({
    final: true,
    message: expect.stringContaining('secret/x is not known'),
  });
  expect(() => readImageTable(table({}))).toThrow(/expected \{"images"/);
  expect(() => readImageTable(table({ images: [{ as: 'host' }] }))).toThrow(/entry 1: "pattern"/);
  expect(() => readImageTable(table({ images: [{ pattern: 'a', as: 'vm' }] }))).toThrow(
    /"as" must/,
  );
  const env = { images: [{ pattern: 'a', as: 'host', env: { A: 1 } }] };
  expect(() => readImageTable(table(env))).toThrow(/"env" must/);
  for (const [inside, outside] of [
    ['/code', 'here'],
    ['/a/../b', '/c'],
    ['/pfs/x', '/c'],
    ['/', '/c'],
  ]) {
    const mounts = { images: [{ pattern: 'a', as: 'host', mounts: { [inside ?? '']: outside } }] };
    expect(() => readImageTable(table(mounts))).toThrow(/"mounts"/);
  }
  const words = { images: [{ pattern: 'a', as: 'host', entrypoint: 'x' }] };
  expect(() => readImageTable(table(words))).toThrow(/"entrypoint"/);
});

it('shows directories of the host inside, where the isolation can', async () => {
  await using dir = await tempDir('images');
  const file = join(dir.path, 'images.json');
  const mounts = { '/code/lib': dir.path, '/code': dir.path };
  const rules = [
    { pattern: 'me/app', as: 'host', mounts, env: { PATH: '/code' } },
    { pattern: 'gone', as: 'host', mounts: { '/code': join(dir.path, 'none') } },
  ];
  writeFileSync(file, JSON.stringify({ images: rules }));
  const shared = { engine: undefined, dir: dir.path, tableFile: file, roots: true };
  const images = (can: boolean): Images =>
    new Images({ ...shared, mounts: can, log: silentLog, clock: systemClock });
  const found = await images(true).resolve('me/app', wait);
  expect(found.env).toEqual({ PATH: '/code' });
  expect(found.mounts).toEqual([
    [dir.path, '/code'],
    [dir.path, '/code/lib'],
  ]);
  await expect(images(true).resolve('gone', wait)).rejects.toMatchObject({
    final: false,
    message: expect.stringContaining('/none as /code: it is not there'),
  });
  await expect(images(false).resolve('me/app', wait)).rejects.toMatchObject({ final: true });
});
