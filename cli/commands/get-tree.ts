/** get file -r: a directory with everything below it, in one call. */
import { writeFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { invalidInput } from '../../core/errors.js';
import { makeDir } from '../../core/make-dir.js';
import { FilesClient } from '../../proto/generated/tusk.js';
import type { Client } from '../client/client.js';
import type { FileRef } from '../grammar/refs.js';
import { fileErrorText } from '../put/file-error.js';
import { FileSink } from '../put/file-sink.js';

/** Files up to this size come in one part and are written at once. */
const WHOLE_BYTES = 1024 * 1024;

/** Downloads what is at `ref` to `output`. UNIMPLEMENTED where the server does not know the call. */
export async function getWholeTree(client: Client, ref: FileRef, output: string): Promise<void> {
  const files = client.service(FilesClient);
  const root = posix.join('/', ref.path);
  const request = { repo: ref.repo, commit: ref.id, path: root };
  let sink: FileSink | undefined;
  try {
    for await (const part of client.stream(files.getTree, request)) {
      const value = Buffer.from(part.value.buffer, part.value.byteOffset, part.value.byteLength);
      if (part.path === '') {
        await sink?.write(value);
        continue;
      }
      await sink?.close();
      sink = undefined;
      const target = join(output, posix.relative(root, part.path));
      if (part.dir) {
        makeDir(target, 0o700);
      } else if (value.length > 0 && value.length <= WHOLE_BYTES) {
        writeWhole(target, value);
      } else {
        sink = FileSink.open(target, { append: false });
        await sink.write(value);
      }
    }
    await sink?.close();
  } catch (error) {
    sink?.abandon();
    throw error;
  }
}

function writeWhole(target: string, value: Buffer): void {
  try {
    writeFileSync(target, value);
  } catch (error) {
    throw invalidInput(fileErrorText('open', target, error));
  }
}
