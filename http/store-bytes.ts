/** A body becomes content of the object store. */
import type { Storage } from '../storage/index.js';
import type { FileContent, Wait } from '../storage/types.js';

/** Stores bytes. Returns when they are durable; throws when the source does. */
export async function storeBytes(
  storage: Pick<Storage, 'newWriter'>,
  bytes: AsyncIterable<Buffer>,
  wait: Wait,
): Promise<FileContent> {
  const writer = storage.newWriter({ signal: wait.signal });
  try {
    const sink = writer.beginFile();
    for await (const part of bytes) {
      const room = sink.write(part);
      if (room) await room;
    }
    const content = await sink.end();
    await writer.flush(wait);
    return content;
  } finally {
    writer.abort();
  }
}
