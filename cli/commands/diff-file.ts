/** diff file: what changed between two commits, as a table of names or through a diff program. */
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { once } from 'node:events';
import {
  DiffFileRequest,
  FileType,
  GetFileRequest,
  type FileInfo,
} from '../../proto/generated/pfs.js';
import { asBytes } from '../client/bytes.js';
import type { Client } from '../client/client.js';
import type { Call } from '../grammar/command.js';
import { parseFileRef } from '../grammar/refs.js';
import { fileType } from '../render/pfs.js';
import { formatSize } from '../render/size.js';
import { formatTable } from '../render/table.js';
import type { Session } from '../session.js';
import { fileOf } from './file.js';
import { isProgram, paged } from './output.js';

interface Change {
  readonly path: string;
  readonly now: FileInfo | undefined;
  readonly before: FileInfo | undefined;
}

export async function diffFile(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const client = await session.client();
  const request = DiffFileRequest.fromPartial({
    newFile: fileOf(parseFileRef(args[0] ?? '')),
    ...(args[1] === undefined ? {} : { oldFile: fileOf(parseFileRef(args[1])) }),
    shallow: flags.bool('shallow'),
  });
  const { newFiles, oldFiles } = await client.unary(client.pfs.diffFile, request);
  const changes = pairUp(newFiles, oldFiles);
  const text = flags.bool('name-only')
    ? nameTable(session, changes)
    : await contentDiff(call, client, changes);
  await paged(call, async (write) => {
    write(text);
    await Promise.resolve();
  });
}

/** Both sides merged in path order. */
function pairUp(newFiles: readonly FileInfo[], oldFiles: readonly FileInfo[]): Change[] {
  const byPath = new Map<string, { now?: FileInfo; before?: FileInfo }>();
  for (const info of newFiles) byPath.set(info.file?.path ?? '', { now: info });
  for (const info of oldFiles) {
    const path = info.file?.path ?? '';
    byPath.set(path, { ...byPath.get(path), before: info });
  }
  return [...byPath]
    .map(([path, { now, before }]) => ({ path, now, before }))
    .sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
}

function nameTable(session: Session, changes: readonly Change[]): string {
  const row = (sign: string, info: FileInfo): string[] => [
    sign,
    info.file?.path ?? '',
    fileType(info),
    formatSize(info.sizeBytes),
  ];
  const rows = changes.flatMap(({ now, before }) => [
    ...(now ? [row(session.paint('green', '+'), now)] : []),
    ...(before ? [row(session.paint('red', '-'), before)] : []),
  ]);
  return formatTable(['OP', 'NAME', 'TYPE', 'SIZE'], rows);
}

async function contentDiff(
  call: Call,
  client: Client,
  changes: readonly Change[],
): Promise<string> {
  const { session, flags } = call;
  const asked = flags.text('diff-command');
  const coloured = session.paint('red', 'x') !== 'x';
  const git = isProgram(session, 'git');
  const command =
    asked !== ''
      ? asked.split(' ').filter((word) => word !== '')
      : git
        ? ['git', 'diff', '--no-index', `--color=${coloured ? 'always' : 'never'}`]
        : ['diff', '-u'];
  const folder = await mkdtemp(join(tmpdir(), 'tusk-diff-'));
  try {
    let text = '';
    for (const change of changes) {
      const isFile = (info: FileInfo | undefined): boolean => info?.fileType === FileType.FILE;
      if (!isFile(change.now) && !isFile(change.before)) continue;
      const before = await fetchSide(client, change.before, join(folder, 'old'), change.path);
      const now = await fetchSide(client, change.now, join(folder, 'new'), change.path);
      // Relative, so that no temporary directory shows in what the program prints.
      const names = [before, now].map((path) => (path === NOTHING ? path : relative(folder, path)));
      text += await capture(command, names, folder);
    }
    return text;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const NOTHING = '/dev/null';

/** One side of a change as a local file; a missing side is an empty device. */
async function fetchSide(
  client: Client,
  info: FileInfo | undefined,
  folder: string,
  path: string,
): Promise<string> {
  if (!info || info.fileType !== FileType.FILE) return NOTHING;
  const target = join(folder, path);
  await mkdir(dirname(target), { recursive: true });
  const file = createWriteStream(target);
  const request = GetFileRequest.fromPartial({ file: info.file });
  for await (const chunk of client.stream(client.pfs.getFile, request)) {
    if (!file.write(asBytes(chunk))) await once(file, 'drain');
  }
  file.end();
  await once(file, 'close');
  return target;
}

/** Output of a program; diff programs exit 1 when there are differences. */
async function capture(command: readonly string[], args: string[], cwd: string): Promise<string> {
  const [program = '', ...rest] = command;
  const child = spawn(program, [...rest, ...args], {
    cwd,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (part: string) => (text += part));
  await once(child, 'close');
  return text;
}
