/** Where egress goes: an S3 bucket, or a directory of the coordinator's machine for tests. */
import { randomBytes } from 'node:crypto';
import { open, realpath, rename, rm } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { AppError, invalidInput, messageOf } from '../../core/errors.js';
import { makeDir } from '../../core/make-dir.js';
import type { ReadRange, Sources } from '../../storage/index.js';
import type { Wait } from '../../storage/types.js';

/** A place that files are copied to. */
export interface Destination extends Disposable {
  /** Writes the file at a path such as `/dir/a.txt`, whole or not at all, replacing what is there. */
  put(path: string, size: number, read: ReadRange, wait: Wait): Promise<void>;
}

export interface DestinationDeps {
  readonly sources: Sources;
  /** The directory that local:// URLs mean; none: they are refused. */
  readonly localTargets: string | undefined;
}

/** Stores of v1 that are not spoken, and how to reach them all the same. */
const OTHER_STORES: Readonly<Record<string, string>> = {
  gs: 's3://BUCKET/DIR?endpoint=https://storage.googleapis.com with an HMAC key',
  gcs: 's3://BUCKET/DIR?endpoint=https://storage.googleapis.com with an HMAC key',
  as: 'an S3 gateway in front of it, or `get file -r`',
  wasb: 'an S3 gateway in front of it, or `get file -r`',
};

/** What is wrong with an egress URL that no try can mend; undefined when it may work. */
export function refusedUrl(text: string): string | undefined {
  const scheme = schemeOf(text);
  const other = OTHER_STORES[scheme];
  if (other !== undefined) return `egress to ${scheme}:// is not built in Tusk: use ${other}`;
  return text === '' ? 'egress must specify a URL such as s3://bucket/dir' : undefined;
}

/** Opens the place that a URL names. Throws INVALID_INPUT for one that can not be. */
export async function openDestination(deps: DestinationDeps, text: string): Promise<Destination> {
  const scheme = schemeOf(text);
  if (scheme === 's3') return openBucket(deps.sources, text);
  if (scheme === 'local') return openDirectory(deps.localTargets, text);
  throw invalidInput(refusedUrl(text) ?? `unrecognized object store: ${scheme}`);
}

function schemeOf(text: string): string {
  return /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(text)?.[1]?.toLowerCase() ?? '';
}

async function openBucket(sources: Sources, text: string): Promise<Destination> {
  const { address, key } = sources.parse(text);
  const dir = key.replace(/\/+$/, '');
  const sink = await sources.openSink(address);
  return {
    put: (path, size, read, wait) =>
      sink.put(dir === '' ? path.slice(1) : dir + path, size, read, wait),
    [Symbol.dispose]: () => sink[Symbol.dispose](),
  };
}

const PART_BYTES = 4 * 1024 * 1024;

async function openDirectory(root: string | undefined, text: string): Promise<Destination> {
  if (root === undefined) {
    throw new AppError(
      'PERMISSION_DENIED',
      `cannot write to ${text}: this server writes no files of its own machine; the setting ` +
        'localTargets (tusk up --local-targets DIR) names a directory that it may',
    );
  }
  const { hostname, pathname } = new URL(text);
  const base = await realpath(root);
  const dir = join(base, decodeURIComponent(hostname + pathname));
  return {
    put: async (path, size, read, wait) => {
      try {
        await putFile(base, join(dir, path), size, read, wait);
      } catch (error) {
        if (error instanceof AppError || !(error as NodeJS.ErrnoException).code) throw error;
        throw new AppError(
          'STATE_CONFLICT',
          `cannot write ${path} to ${text}: ${messageOf(error)}`,
        );
      }
    },
    [Symbol.dispose]: () => undefined,
  };
}

async function putFile(
  base: string,
  target: string,
  size: number,
  read: ReadRange,
  wait: Wait,
): Promise<void> {
  makeDir(dirname(target));
  // Links that somebody laid must not lead out of the directory.
  const way = relative(base, await realpath(dirname(target)));
  if (way === '..' || way.startsWith(`..${sep}`)) throw invalidInput(`${target} is outside`);
  const partial = `${target}.${randomBytes(6).toString('hex')}.part`;
  try {
    const file = await open(partial, 'wx');
    try {
      for (let at = 0; at < size; at += PART_BYTES) {
        const length = Math.min(PART_BYTES, size - at);
        await file.write(await read(at, length, wait), 0, length, at);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}
