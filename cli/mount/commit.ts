/** Sends the changes of a volume to its branch: one PutFile call, so one commit, or nothing at all. */
import { createReadStream } from 'node:fs';
import { PutFileRequest, type Commit } from '../../proto/generated/pfs.js';
import type { Client } from '../client/client.js';
import { FrameMaker, type PutOptions } from '../put/frames.js';
import { PutStream } from '../put/put-stream.js';
import type { Volume } from './volume.js';

const BLOCK_BYTES = 4 * 1024 * 1024;
const OVERWRITE: PutOptions = {
  delimiter: 0,
  targetFileDatums: 0,
  targetFileBytes: 0,
  headerRecords: 0,
  overwrite: true,
};

export interface Sent {
  readonly written: number;
  readonly deleted: number;
}

/** Directories made by themselves are not sent: a repo knows directories by their files. */
export async function commitChanges(client: Client, volume: Volume): Promise<Sent> {
  const { repo, branch } = volume.source;
  const commit: Commit = { repo: { name: repo }, id: branch };
  const files = [...volume.changes].filter(([, change]) => change.kind === 'file');
  const gone = [...volume.changes].filter(([, change]) => change.kind === 'gone');
  if (files.length + gone.length === 0) return { written: 0, deleted: 0 };
  const stream = new PutStream(client);
  const frames = new FrameMaker(commit, OVERWRITE);
  try {
    for (const [path] of gone) {
      const request = PutFileRequest.fromPartial({ file: { commit, path }, delete: true });
      await stream.send(Buffer.from(PutFileRequest.encode(request).finish()));
    }
    for (const [path, change] of files) {
      if (change.kind === 'file') await sendFile(stream, frames, path, change.local);
    }
    await stream.finish(frames.end());
  } catch (error) {
    stream.cancel();
    throw error;
  }
  return { written: files.length, deleted: gone.length };
}

async function sendFile(
  stream: PutStream,
  frames: FrameMaker,
  path: string,
  local: string,
): Promise<void> {
  let first = true;
  for await (const part of createReadStream(local, { highWaterMark: BLOCK_BYTES })) {
    const bytes = part as Buffer;
    const frame = first ? frames.first(path, bytes.length) : frames.next(bytes.length);
    bytes.copy(frame.value);
    await stream.send(frame.sealed(bytes.length));
    first = false;
  }
  if (first) await stream.send(frames.first(path, 0).sealed(0));
}
