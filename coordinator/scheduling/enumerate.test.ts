import { describe, expect, it } from 'vitest';
import type { Input, PFSInput } from '../../proto/generated/pps.js';
import { sha256 } from '../../core/sha256.js';
import type { FileNode } from '../../storage/types.js';
import type { Datum } from './datum.js';
import { batchOf, type MatchBatch } from '../../storage/index.js';
import { enumerate, type MatchSource } from './enumerate.js';

const wait = { signal: new AbortController().signal };

/** `name:size` or `name` per repo, with an optional capture after `=`. */
function sourceOf(repos: Record<string, readonly string[]>): MatchSource {
  return {
    commitOf: (repo) => (repos[repo] ? `${repo}-commit` : ''),
    async *matches(input): AsyncGenerator<MatchBatch> {
      for (const text of repos[input.repo] ?? []) {
        const [nameAndSize = '', capture = ''] = text.split('=');
        const [name = '', size = '1'] = nameAndSize.split(':');
        const path = `/${name}`;
        yield batchOf([{ path, node: file(name, Number(size)), captures: [path, capture] }]);
      }
    },
  };
}

function file(content: string, size: number): FileNode {
  return { type: 'file', size, hash: sha256(content), pieces: [], changed: 0 };
}

function pfs(repo: string, more: Partial<PFSInput> = {}): Input {
  const base = { name: repo, repo, branch: 'master', commit: '', glob: '/*' };
  const flags = { lazy: false, emptyFiles: false, joinOn: '', s3: false, groupBy: '' };
  return { ...none(), pfs: { ...base, ...flags, outerJoin: false, ...more } };
}

function none(): Input {
  return { cross: [], union: [], join: [], group: [] };
}

async function order(input: Input, repos: Record<string, readonly string[]>): Promise<string[]> {
  const list = await enumerate(input, sourceOf(repos), wait);
  const text = (datum: Datum): string => datum.map((f) => f.path.slice(1)).join('+');
  return Array.from({ length: list.length }, (_, index) => text(list.at(index)));
}

const a = ['a1', 'a2'];
const b = ['b1', 'b2', 'b3'];

describe('enumeration', () => {
  it('orders matches by size descending, then path in byte order', async () => {
    const repos = { r: ['z:5', 'b:1', 'a/x:1', 'a!:1', 'é:1', '\u{1f600}:1', '\uffee:1'] };
    expect(await order(pfs('r'), repos)).toEqual([
      'z',
      'a!',
      'a/x',
      'b',
      'é',
      '\uffee',
      '\u{1f600}',
    ]);
  });

  it('lets the first child of a cross vary fastest', async () => {
    const cross = { ...none(), cross: [pfs('a'), pfs('b')] };
    expect(await order(cross, { a, b })).toEqual([
      'a1+b1',
      'a2+b1',
      'a1+b2',
      'a2+b2',
      'a1+b3',
      'a2+b3',
    ]);
  });

  it('concatenates the children of a union', async () => {
    const union = { ...none(), union: [pfs('a'), pfs('b')] };
    expect(await order(union, { a, b })).toEqual(['a1', 'a2', 'b1', 'b2', 'b3']);
  });

  it('crosses a union with another input', async () => {
    const union = { ...none(), union: [pfs('a'), pfs('b')] };
    const cross = { ...none(), cross: [union, pfs('c')] };
    expect(await order(cross, { a, b, c: ['c1', 'c2'] })).toEqual([
      'a1+c1',
      'a2+c1',
      'b1+c1',
      'b2+c1',
      'b3+c1',
      'a1+c2',
      'a2+c2',
      'b1+c2',
      'b2+c2',
      'b3+c2',
    ]);
  });

  it('gives no datums for a cross with an empty child', async () => {
    const cross = { ...none(), cross: [pfs('a'), pfs('headless')] };
    expect(await order(cross, { a })).toEqual([]);
  });

  it('joins by key, keys in the order of the first child', async () => {
    const join = { ...none(), join: [pfs('l', { joinOn: '$1' }), pfs('r', { joinOn: '$1' })] };
    const repos = { l: ['k1x:3=1', 'k2x:2=2', 'k1y:1=1'], r: ['k2p:2=2', 'k1p:1=1'] };
    expect(await order(join, repos)).toEqual(['k1x+k1p', 'k1y+k1p', 'k2x+k2p']);
  });

  it('keeps unmatched keys of outer children only', async () => {
    const outer = { joinOn: '$1', outerJoin: true };
    const join = { ...none(), join: [pfs('l', outer), pfs('r', { joinOn: '$1' })] };
    const repos = { l: ['l1:2=1', 'l2:1=2'], r: ['r2:2=2', 'r3:1=3'] };
    expect(await order(join, repos)).toEqual(['l1', 'l2+r2']);
  });

  it('groups by key, keys ascending', async () => {
    const by = { groupBy: '${1}' };
    const group = { ...none(), group: [pfs('l', by), pfs('r', by)] };
    const repos = { l: ['k1x:3=1', 'k2x:2=2', 'k1y:1=1'], r: ['k2p:2=2', 'k1p:1=1'] };
    expect(await order(group, repos)).toEqual(['k1x+k1y+k1p', 'k2x+k2p']);
  });

  it('sorts the files of a cross by input name', async () => {
    const cross = { ...none(), cross: [pfs('a', { name: 'z' }), pfs('b', { name: 'm' })] };
    expect((await order(cross, { a: ['a1'], b: ['b1'] }))[0]).toBe('b1+a1');
  });
});
