/** sha256, the one digest of the system: object key, S3 checksum and content identity at once. */
import { createHash, hash as hashOnce, type Hash } from 'node:crypto';

export const DIGEST_BYTES = 32;

/** What is put together before it is hashed at once: a hash object costs more than a copy. */
const TOGETHER_MAX = 4096;

export function sha256(...parts: (Uint8Array | string)[]): Buffer {
  if (parts.length === 1) return hashOnce('sha256', parts[0] as Uint8Array | string, 'buffer');
  if (parts.reduce((sum, part) => sum + part.length, 0) <= TOGETHER_MAX) {
    const bytes = parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part));
    return hashOnce('sha256', Buffer.concat(bytes), 'buffer');
  }
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

export function sha256Hex(...parts: (Uint8Array | string)[]): string {
  return sha256(...parts).toString('hex');
}

export function newSha256(): Hash {
  return createHash('sha256');
}
