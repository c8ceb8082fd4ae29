/** Content that the server fetches itself (`url` of a put). */
import { invalidInput, unavailable, unimplemented, messageOf } from '../../../core/errors.js';
import type { Wait } from '../../../storage/types.js';

const STORES = ['s3', 'gs', 'gcs', 'as', 'wasb', 'local'];

/** The bytes behind an http or https URL. Errors name the URL and the answer. */
export async function* readUrl(text: string, wait: Wait): AsyncGenerator<Buffer> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const scheme = url?.protocol.slice(0, -1) ?? '';
  if (!url) throw invalidInput(`error parsing url ${text}: not a URL`);
  if (STORES.includes(scheme)) {
    throw unimplemented(
      `putting files from ${scheme}:// is not built yet in this version of Tusk: download them ` +
        'and put them from there',
    );
  }
  if (scheme !== 'http' && scheme !== 'https') {
    throw invalidInput(`error parsing url ${text}: unrecognized object store: ${scheme}`);
  }
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
