/** sha256, the one digest of the system: object key, S3 checksum and content identity at once. */
import { createHash, type Hash } from 'node:crypto';

export const DIGEST_BYTES = 32;

export function sha256(...parts: (Uint8Array | string)[]): Buffer {
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
