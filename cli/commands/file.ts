/** list, glob, inspect, copy and delete file. */
import {
  CopyFileRequest,
  DeleteFileRequest,
  GlobFileRequest,
  InspectFileRequest,
  ListFileRequest,
  type FileInfo,
} from '../../proto/generated/pfs.js';
import type { Call } from '../grammar/command.js';
import { parseFileRef, parseHistory, type FileRef } from '../grammar/refs.js';
import {
  FILE_HEADER,
  FILE_HISTORY_HEADER,
  fileBlock,
  fileHistoryRow,
  fileRow,
} from '../render/pfs.js';
import { printList, rawJson, timeStyle } from './output.js';

/** The wire form of a file reference. */
export const fileOf = (ref: FileRef) => ({
  commit: { repo: { name: ref.repo }, id: ref.id },
  path: ref.path,
});

export async function listFile(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const history = parseHistory(flags.text('history'));
  const client = await session.client();
  const request = ListFileRequest.fromPartial({
    file: fileOf(parseFileRef(args[0] ?? '')),
    history,
  });
  await printFiles(call, client.stream(client.pfs.listFileStream, request), {
    history: history !== 0,
  });
}

export async function globFile(call: Call): Promise<void> {
  const { session, args } = call;
  const ref = parseFileRef(args[0] ?? '');
  const client = await session.client();
  const request = GlobFileRequest.fromPartial({
    commit: { repo: { name: ref.repo }, id: ref.id },
    pattern: ref.path,
  });
  await printFiles(call, client.stream(client.pfs.globFileStream, request), { history: false });
}

async function printFiles(
  call: Call,
  files: AsyncIterable<FileInfo>,
  how: { history: boolean },
): Promise<void> {
  const time = timeStyle(call);
  await printList(call, files, {
    type: 'pfs.FileInfo',
    header: how.history ? FILE_HISTORY_HEADER : FILE_HEADER,
    row: how.history ? (info) => fileHistoryRow(info, time) : fileRow,
  });
}

export async function inspectFile({ session, args, flags }: Call): Promise<void> {
  const client = await session.client();
  const info = await client.unary(
    client.pfs.inspectFile,
    InspectFileRequest.fromPartial({ file: fileOf(parseFileRef(args[0] ?? '')) }),
  );
  session.out(flags.bool('raw') ? rawJson(info, 'pfs.FileInfo') : fileBlock(info));
}

export async function copyFile({ session, args, flags }: Call): Promise<void> {
  const client = await session.client();
  const request = CopyFileRequest.fromPartial({
    src: fileOf(parseFileRef(args[0] ?? '')),
    dst: fileOf(parseFileRef(args[1] ?? '')),
    overwrite: flags.bool('overwrite'),
  });
  await client.unary(client.pfs.copyFile, request);
}

export async function deleteFile({ session, args }: Call): Promise<void> {
  const client = await session.client();
  const request = DeleteFileRequest.fromPartial({ file: fileOf(parseFileRef(args[0] ?? '')) });
  await client.unary(client.pfs.deleteFile, request);
}
