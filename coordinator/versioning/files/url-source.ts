/** Content that the server fetches itself (`url` of a put). */
import { invalidInput, messageOf, unavailable, unimplemented, wrap } from '../../../core/errors.js';
import type { Sources } from '../../../storage/index.js';
import type { FileContent, Wait } from '../../../storage/types.js';
import { localFiles } from './local-source.js';
import { bucketFiles } from './s3-url-source.js';

/** One file behind a URL. */
export interface UrlFile {
  /** What follows the path of the URL, for one of many; empty for one by itself. */
  readonly suffix: string;
  readonly read: () => AsyncIterable<Buffer>;
  /** Takes it over by reference; only where the source allows it. */
  readonly link?: () => Promise<FileContent>;
}

export interface UrlDeps {
  readonly sources: Sources;
  /** The directory that local:// URLs mean; none: they are refused. */
  readonly localSources?: string | undefined;
}

export interface UrlRequest {
  readonly url: string;
  /** Everything below it; object stores only. */
  readonly recursive: boolean;
  /** Leave the bytes where they are. */
  readonly link: boolean;
}

/** Other object stores of v1, and how to reach them all the same. */
const OTHER_STORES: Readonly<Record<string, string>> = {
  gs: 's3://BUCKET/KEY?endpoint=https://storage.googleapis.com with an HMAC key',
  gcs: 's3://BUCKET/KEY?endpoint=https://storage.googleapis.com with an HMAC key',
  as: 'a URL with a shared access signature (https://…)',
  wasb: 'a URL with a shared access signature (https://…)',
};

/** The files behind a URL, in order. Errors name the URL. Each must be read before the next. */
export async function* urlFiles(
  deps: UrlDeps,
  request: UrlRequest,
  wait: Wait,
): AsyncGenerator<UrlFile> {
  const { url: text } = request;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const scheme = url?.protocol.slice(0, -1) ?? '';
  if (!url) throw invalidInput(`error parsing url ${text}: not a URL`);
  if (!request.link && (scheme === 'http' || scheme === 'https')) {
    yield { suffix: '', read: () => readHttp(url, text, wait) };
    return;
  }
  if (request.link && scheme !== 's3') {
    throw invalidInput(`cannot link to ${text}: only s3:// urls can be linked`);
  }
  const other = OTHER_STORES[scheme];
  if (other !== undefined) {
    throw unimplemented(`putting files from ${scheme}:// is not built in Tusk: use ${other}`);
  }
  if (scheme === 's3') yield* bucketFiles(deps.sources, request, wait);
  else if (scheme === 'local') yield* localFiles(deps.localSources, request, wait);
  else throw invalidInput(`error parsing url ${text}: unrecognized object store: ${scheme}`);
}

/** An error on the way to what a URL names; its code stays. */
export function retrieving(text: string, error: unknown): Error {
  return wrap(`error retrieving content from "${text}"`, error);
}

async function* readHttp(url: URL, text: string, wait: Wait): AsyncGenerator<Buffer> {
  const response = await request(url, text, wait);
  if (response.status >= 400) {
    await response.body?.cancel();
    const status = `${response.status} ${response.statusText}`.trim();
    throw invalidInput(`error retrieving content from "${text}": ${status}`);
  }
  if (!response.body) return;
  try {
    // The web stream type of the standard library does not say that it can be iterated.
    for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
      yield Buffer.from(part.buffer, part.byteOffset, part.byteLength);
    }
  } catch (error) {
    wait.signal.throwIfAborted();
    throw brokenUrl(text, error);
  }
}

async function request(url: URL, text: string, wait: Wait): Promise<Response> {
  try {
    return await fetch(url, { signal: wait.signal, headers: { 'accept-encoding': 'identity' } });
  } catch (error) {
    wait.signal.throwIfAborted();
    throw brokenUrl(text, error);
  }
}

function brokenUrl(text: string, error: unknown): Error {
  const cause = (error as { cause?: unknown }).cause ?? error;
  return unavailable(`error retrieving content from "${text}": ${messageOf(cause)}`, {
    cause: error,
  });
}
