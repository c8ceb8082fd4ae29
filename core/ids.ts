/**
 * Ids. Commit and job ids are 32 lowercase hex digits that pass the "v4 uuid without dashes" test
 * old clients apply (13th digit is `4`), and whose first 12 digits are the time in milliseconds, so
 * that newest-first listings are plain key ranges. Correctness never depends on their order.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto';

const ID = /^[0-9a-f]{12}4[0-9a-f]{19}$/;
const CONTAINS_ID = /[0-9a-f]{12}4[0-9a-f]{19}/;

/** A new commit or job id for the given wall time. */
export function newId(wallMs: number, random: Buffer = randomBytes(10)): string {
  const tail = random.subarray(0, 10).toString('hex');
  const variant = '89ab'[Number.parseInt(tail[3] ?? '0', 16) & 3] ?? '8';
  return timeDigits(wallMs) + '4' + tail.slice(0, 3) + variant + tail.slice(4, 19);
}

/**
 * The id that propagation gives to the commit it makes on `repo@branch` for `origin`: the same for
 * every replay, in the origin's place in time.
 */
export function derivedId(origin: string, repo: string, branch: string): string {
  const tail = createHash('sha256').update(`${origin}\0${repo}\0${branch}`).digest('hex');
  return origin.slice(0, 12) + '4' + tail.slice(0, 19);
}

export function isId(text: string): boolean {
  return ID.test(text);
}

/** The unanchored test of the v1 grammar: such a text can not name a branch. */
export function containsId(text: string): boolean {
  return CONTAINS_ID.test(text);
}

/** The 48-bit time part of an id, used as the ordinal stored in tree entries. */
export function ordinalOf(id: string): number {
  return Number.parseInt(id.slice(0, 12), 16);
}

/** A v4 uuid with dashes (transactions, clusters, requests). */
export function newUuid(): string {
  return randomUUID();
}

function timeDigits(wallMs: number): string {
  return Math.floor(wallMs).toString(16).padStart(12, '0').slice(-12);
}
