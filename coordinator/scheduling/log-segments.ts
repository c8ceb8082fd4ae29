/** Reading log segments: deflated text of log lines (queue/log-text), a piece at a time. */
import { StringDecoder } from 'node:string_decoder';
import { createInflateRaw } from 'node:zlib';
import { LogTextReader, type LogLine } from '../../queue/index.js';
import { refFromText } from '../../storage/refs.js';
import type { ObjectRef, Wait } from '../../storage/types.js';

/** Lines of one segment; memory is that of the deflated segment and of some lines. */
export async function* segmentLines(
  storage: { getObject(ref: ObjectRef, wait: Wait): Promise<Buffer> },
  ref: string,
  wait: Wait,
): AsyncGenerator<LogLine> {
  const inflate = createInflateRaw();
  inflate.end(await storage.getObject(refFromText(ref), wait));
  const decoder = new StringDecoder('utf8');
  const reader = new LogTextReader();
  let rest = '';
  for await (const bytes of inflate) {
    wait.signal.throwIfAborted();
    const rows = (rest + decoder.write(bytes as Buffer)).split('\n');
    rest = rows.pop() ?? '';
    yield* reader.readAll(rows);
  }
}
