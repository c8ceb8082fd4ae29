/**
 * Files from local:// URLs: below one directory of the server's machine that its settings name.
 * Nothing outside it is given, also not through links.
 */
import { createReadStream } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { AppError, invalidInput, notFound } from '../../../core/errors.js';
import type { Wait } from '../../../storage/types.js';
import { retrieving, type UrlFile, type UrlRequest } from './url-source.js';

const READ_BYTES = 1024 * 1024;

/** `root` is the directory that the settings name. */
export async function* localFiles(
  root: string | undefined,
  request: UrlRequest,
  wait: Wait,
): AsyncGenerator<UrlFile> {
  const { url } = request;
  if (root === undefined) {
    throw new AppError(
      'PERMISSION_DENIED',
      `error retrieving content from "${url}": this server gives no files of its own machine; the ` +
        'setting localSources (tusk up --local-sources DIR) names a directory that it may',
    );
  }
  const { hostname, pathname } = new URL(url);
  try {
    const base = await realpath(root);
    const start = await inside(base, join(base, decodeURIComponent(hostname + pathname)));
    if (!request.recursive) yield fileOf(start, '', url, wait);
    else
      for await (const path of below(start, base))
        yield fileOf(path, path.slice(start.length), url, wait);
  } catch (error) {
    throw told(error, url);
  }
}

/** The real path; INVALID_INPUT when it leads out of `base`. */
async function inside(base: string, path: string): Promise<string> {
  const real = await realpath(path);
  const way = relative(base, real);
  if (way === '..' || way.startsWith(`..${sep}`)) throw invalidInput('it is outside localSources');
  return real;
}

/** Files under a path, by name. Links are not followed. */
async function* below(path: string, base: string): AsyncGenerator<string> {
  if ((await stat(path)).isFile()) {
    yield path;
    return;
  }
  const entries = await readdir(path, { withFileTypes: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const entry of entries) {
    if (entry.isDirectory()) yield* below(join(path, entry.name), base);
    else if (entry.isFile()) yield join(path, entry.name);
  }
}

function fileOf(path: string, suffix: string, url: string, wait: Wait): UrlFile {
  return {
    suffix,
    read: async function* () {
      const { signal } = wait;
      const stream = createReadStream(path, { highWaterMark: READ_BYTES, signal });
      try {
        for await (const part of stream as AsyncIterable<Buffer>) yield part;
      } catch (error) {
        signal.throwIfAborted();
        throw told(error, url);
      }
    },
  };
}

function told(error: unknown, url: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (error instanceof AppError) {
    return error.message.startsWith('error retrieving') ? error : retrieving(url, error);
  }
  if (code === 'ENOENT') return retrieving(url, notFound('no such file or directory'));
  if (code === 'EISDIR') return retrieving(url, invalidInput('is a directory'));
  return code === undefined ? error : retrieving(url, invalidInput(code));
}
