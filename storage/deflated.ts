/** Deflated (raw) bytes. Small ones are done at once: a trip to the thread pool takes longer. */
import { promisify } from 'node:util';
import { constants, deflateRaw, deflateRawSync, inflateRaw, inflateRawSync } from 'node:zlib';

const AT_ONCE_BYTES = 8 * 1024;
const inThread = { inflate: promisify(inflateRaw), deflate: promisify(deflateRaw) };

/** Throws when the bytes are not deflated. */
export async function inflate(bytes: Buffer): Promise<Buffer> {
  return bytes.length <= AT_ONCE_BYTES ? inflateRawSync(bytes) : inThread.inflate(bytes);
}

export async function deflate(bytes: Buffer): Promise<Buffer> {
  const options = { level: constants.Z_BEST_SPEED };
  if (bytes.length <= AT_ONCE_BYTES) return deflateRawSync(bytes, options);
  return inThread.deflate(bytes, options);
}
