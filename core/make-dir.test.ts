import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { makeDir } from './make-dir.js';

it('makes parents, and leaves what exists alone', () => {
  const base = mkdtempSync(join(tmpdir(), 'tusk-make-dir-'));
  try {
    makeDir(join(base, 'a/b/c'), 0o700);
    makeDir(join(base, 'a/b/c'), 0o700);
    expect(existsSync(join(base, 'a/b/c'))).toBe(true);
  } finally {
    rmSync(base, { recursive: true });
  }
});

it('fails below /proc instead of looping for ever', () => {
  expect(() => makeDir('/proc/nothing/here', 0o700)).toThrow(/ENOENT|EACCES|EPERM/);
});

it('fails where a file is in the way', () => {
  const base = mkdtempSync(join(tmpdir(), 'tusk-make-dir-'));
  try {
    writeFileSync(join(base, 'file'), '');
    expect(() => makeDir(join(base, 'file'))).toThrow(/EEXIST/);
    expect(() => makeDir(join(base, 'file/below'))).toThrow(/ENOTDIR/);
  } finally {
    rmSync(base, { recursive: true });
  }
});
