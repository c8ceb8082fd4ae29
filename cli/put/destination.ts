/** Where each source of `put file` lands in the repo: the destination rules of docs/cli.md. */
import { posix } from 'node:path';
import { invalidInput } from '../../core/errors.js';

export type SourceKind = 'stdin' | 'url' | 'path';

export interface Source {
  readonly kind: SourceKind;
  /** As typed. */
  readonly from: string;
  /** Where it goes; for a directory, the directory its files go under (empty = the root). */
  readonly to: string;
}

export interface DestinationOptions {
  /** The path part of the argument; empty when absent. */
  readonly path: string;
  readonly recursive: boolean;
}

const URL_LIKE = /^[a-zA-Z][a-zA-Z0-9+.-]*:\/\//;

export function kindOf(source: string): SourceKind {
  if (source === '-') return 'stdin';
  return URL_LIKE.test(source) ? 'url' : 'path';
}

/** Pairs every source with its destination. Throws INVALID_INPUT for impossible combinations. */
export function destinations(list: readonly string[], options: DestinationOptions): Source[] {
  return list.map((from) => {
    const kind = kindOf(from);
    if (kind === 'stdin' && options.recursive) {
      throw invalidInput('cannot set -r and read from stdin (must also set -f or -i)');
    }
    if (kind === 'stdin' && options.path === '') {
      throw invalidInput('must specify filename when reading data from stdin');
    }
    return { kind, from, to: destination(from, kind, list.length, options) };
  });
}

function destination(
  from: string,
  kind: SourceKind,
  count: number,
  options: DestinationOptions,
): string {
  const own = ownName(from, kind);
  if (options.path === '') return own;
  if (count > 1) return posix.join(options.path, own);
  // The root is no file name: one file put there keeps its base name.
  const isRoot = posix.join('/', options.path) === '/';
  return isRoot && !options.recursive && kind !== 'stdin'
    ? posix.join(options.path, posix.basename(own))
    : options.path;
}

/** The name a source has by itself: its path cleaned, without leading `../` and `/`. */
function ownName(from: string, kind: SourceKind): string {
  if (kind === 'stdin') return '';
  if (kind === 'url') {
    const { protocol, pathname } = new URL(from);
    const path = decodeURIComponent(pathname).replace(/^\/+/, '');
    // pfs://host/repo/branch/a/b names a file of a repo.
    return protocol === 'pfs:' ? path.split('/').slice(2).join('/') : path;
  }
  const clean = posix
    .normalize(from)
    .replace(/\/+$/, '')
    .replace(/^(\.\.(\/|$))+/, '')
    .replace(/^\/+/, '');
  return clean === '.' ? '' : clean;
}
