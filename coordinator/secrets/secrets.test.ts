import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { codeOf, messageOf } from '../../core/errors.js';
import { tempDir } from '../../test/support/temp-dir.js';
import { Box, openBox } from './box.js';
import { parseManifest } from './manifest.js';

const box = (fill: number): Box => new Box(Buffer.alloc(32, fill), `key ${fill}`);

function failure(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return `${codeOf(error)} ${messageOf(error)}`;
  }
  throw new Error('it should have failed');
}

describe('the box', () => {
  it('gives back what was sealed under the same name and key, and nothing else', () => {
    const sealed = box(1).seal('db', Buffer.from('hunter2'));
    expect(box(1).open('db', sealed).toString()).toBe('hunter2');
    expect(box(1).seal('db', Buffer.from('hunter2')).sealed).not.toBe(sealed.sealed);
    expect(Buffer.from(sealed.sealed, 'base64').includes('hunter2')).toBe(false);
    expect(failure(() => box(1).open('other', sealed))).toBe(
      'CORRUPT_DATA secret "other" is damaged: create it again',
    );
    expect(failure(() => box(2).open('db', sealed))).toMatch(
      /^STATE_CONFLICT secret "db" was stored with another key than the one in key 2: /,
    );
    const bytes = Buffer.from(sealed.sealed, 'base64');
    bytes[30] = (bytes[30] ?? 0) ^ 1;
    const changed = { ...sealed, sealed: bytes.toString('base64') };
    expect(failure(() => box(1).open('db', changed))).toMatch(/^CORRUPT_DATA/);
  });

  it('makes its key once, for the owner alone', async () => {
    await using dir = await tempDir('key');
    const file = join(dir.path, 'deep', 'secrets.key');
    const first = openBox(file);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(openBox(file).keyId).toBe(first.keyId);
    expect(readFileSync(file, 'utf8')).toMatch(/^[0-9a-f]{64}\n$/);
    chmodSync(file, 0o600);
    writeFileSync(file, 'short\n');
    expect(failure(() => openBox(file))).toMatch(/does not hold a key: expected 64 hexadecimal/);
  });
});

describe('manifests', () => {
  const parse = (value: unknown) => parseManifest(Buffer.from(JSON.stringify(value)));
  const named = (more: object = {}) => ({ metadata: { name: 's' }, ...more });

  it('reads data and stringData', () => {
    const data = { user: Buffer.from('me').toString('base64') };
    expect(parse(named({ data, stringData: { password: 'pw' } }))).toEqual({
      name: 's',
      type: 'Opaque',
      labels: { suite: 'pachyderm', 'secret-source': 'pachyderm-user' },
      data: { user: 'bWU=', password: 'cHc=' },
    });
  });

  it.each<[string, unknown]>([
    ['failed to unmarshal secret: the secret is not an object', [1]],
    ['failed to unmarshal secret: data.x: illegal base64 data', named({ data: { x: '***' } })],
    ['failed to unmarshal secret: data.x is not a string', named({ data: { x: 1 } })],
    ['failed to create secret: metadata.name "": ', {}],
    ['failed to create secret: metadata.name "A b": ', { metadata: { name: 'A b' } }],
    ['failed to create secret: data key "a/b": ', named({ stringData: { 'a/b': '' } })],
    ['failed to create secret: data key "..": ', named({ stringData: { '..': '' } })],
    [
      'failed to create secret: its data has 1398105 bytes, at most 1048576 may be',
      named({ stringData: { x: 'y'.repeat(1024 * 1024) } }),
    ],
    [
      'invalid suite label set on secret: suite=mine',
      { metadata: { name: 's', labels: { suite: 'mine' } } },
    ],
  ])('%s', (text, value) => {
    expect(failure(() => parse(value))).toContain(text);
  });

  it('says where JSON is wrong', () => {
    expect(failure(() => parseManifest(Buffer.from('{')))).toMatch(
      /^INVALID_INPUT failed to unmarshal secret: /,
    );
  });
});
