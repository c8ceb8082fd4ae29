/**
 * An upload over as many calls as it needs: when the connection breaks off, the server is asked how
 * much it has received, and a further call sends the rest.
 */
import { codeOf, invalidInput } from '../../core/errors.js';
import { newUuid } from '../../core/ids.js';
import { FilesClient, type PutPosition } from '../../proto/generated/tusk.js';
import type { Client } from '../client/client.js';
import type { Session } from '../session.js';
import { BrokenOff, PutStream } from './put-stream.js';

/** How often in a row a call may bring nothing forward. */
const FRUITLESS_MAX = 5;
/** How long the server may be away. */
const AWAY_MS = 60_000;
const CALL_MS = 10_000;
const PAUSE_MS = 500;

/** Where a call goes on; undefined: from the beginning. */
export type At = Omit<PutPosition, 'done'> | undefined;

export interface Attempt {
  readonly stream: PutStream;
  readonly at: At;
}

/** Which files the calls before have brought to the server, asked in the order of the upload. */
export class Received {
  readonly #at: At;
  #asked = 0;

  constructor(at: At) {
    this.#at = at;
  }

  /**
   * Of the next file: all of it, this many bytes, or nothing. Throws INVALID_INPUT when it is not the
   * one that stood here when the upload began.
   */
  of(to: string): 'all' | number | undefined {
    const { files, bytes, path } = this.#at ?? { files: 0, bytes: 0, path: '' };
    if (this.#asked >= files) return undefined;
    this.#asked += 1;
    if (this.#asked < files) return 'all';
    if (to === path) return bytes;
    throw invalidInput(
      `file number ${files} of the upload was ${path} and is ${to} now: the files were changed ` +
        'while they were put and the connection broke; nothing was stored, put them again',
    );
  }
}

/** Runs `send` until one run of it has sent everything and the server has stored it. */
export async function resumable(
  session: Session,
  client: Client,
  send: (attempt: Attempt) => Promise<void>,
): Promise<void> {
  const id = newUuid();
  let at: At;
  let again = false;
  for (let fruitless = 0; ;) {
    const stream = new PutStream(client, { id, at, again });
    try {
      await send({ stream, at });
      return;
    } catch (error) {
      stream.cancel();
      if (!(error instanceof BrokenOff) || session.signal.aborted || fruitless >= FRUITLESS_MAX) {
        await abandon(client, id);
        throw error instanceof BrokenOff ? error.reason : error;
      }
      const before: At = at;
      const known = await position(session, client, id, error);
      if (known?.done === true) return;
      at = known;
      again = true;
      const forward = at && (at.files > (before?.files ?? 0) || at.bytes > (before?.bytes ?? 0));
      fruitless = forward ? 0 : fruitless + 1;
    }
  }
}

/** What the server has of the upload, once it can be reached again; undefined when it has nothing. */
async function position(
  session: Session,
  client: Client,
  id: string,
  broken: BrokenOff,
): Promise<PutPosition | undefined> {
  session.note('The connection broke off; trying to go on.');
  const files = client.service(FilesClient);
  const until = session.clock.monotonicMs() + AWAY_MS;
  for (;;) {
    try {
      const known = await client.unary(files.resumePut, { id }, CALL_MS);
      session.note(`Going on after ${known.files} ${known.files === 1 ? 'file' : 'files'}.`);
      return known;
    } catch (error) {
      const code = codeOf(error);
      if (code === 'NOT_FOUND') {
        session.note('The server has nothing of it any more; sending everything again.');
        return undefined;
      }
      // A server that does not know the call never kept anything.
      if (code === 'UNIMPLEMENTED') throw broken.reason;
      if (code !== 'UNAVAILABLE' && code !== 'DEADLINE') throw error;
      if (session.clock.monotonicMs() > until) throw error;
      await session.clock.sleep(PAUSE_MS, session);
    }
  }
}

/** Tells the server, when it can hear, that nothing more will come. */
async function abandon(client: Client, id: string): Promise<void> {
  const files = client.service(FilesClient);
  await new Promise<void>((resolve) => {
    const options = { deadline: Date.now() + 1_000 };
    files.abandonPut({ id }, client.metadata(), options, () => resolve());
  });
}
