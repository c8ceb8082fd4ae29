/** Rows and blocks for repos, commits, branches and files. */
import type {
  Branch,
  BranchInfo,
  Commit,
  CommitInfo,
  FileInfo,
  RepoInfo,
} from '../../proto/generated/pfs.js';
import { FileType } from '../../proto/generated/pfs.js';
import { formatTime, type TimeStyle } from './duration.js';
import type { Paint } from './colour.js';
import { formatSize } from './size.js';
import { commitProgress, sortedProvenance, triggerText } from './states.js';

/** Repo that holds pipeline specs; hidden from lists. */
export const SPEC_REPO = '__spec__';

export const REPO_HEADER = ['NAME', 'CREATED', 'SIZE (MASTER)', 'DESCRIPTION'];
const ACCESS = ['NONE', 'READER', 'WRITER', 'OWNER'];

export function repoHeader(withAccess: boolean): string[] {
  return withAccess
    ? ['NAME', 'CREATED', 'SIZE (MASTER)', 'ACCESS LEVEL', 'DESCRIPTION']
    : REPO_HEADER;
}

export function repoRow(info: RepoInfo, time: TimeStyle, withAccess: boolean): string[] {
  const access = withAccess ? [ACCESS[info.authInfo?.accessLevel ?? 0] ?? ''] : [];
  return [
    info.repo?.name ?? '',
    formatTime(info.created, time),
    formatSize(info.sizeBytes),
    ...access,
    info.description,
  ];
}

export function repoBlock(info: RepoInfo, time: TimeStyle): string {
  return lines([
    `Name: ${info.repo?.name ?? ''}`,
    info.description === '' ? undefined : `Description: ${info.description}`,
    `Created: ${formatTime(info.created, time)}`,
    `Size of HEAD on master: ${formatSize(info.sizeBytes)}`,
    info.authInfo ? `Access level: ${ACCESS[info.authInfo.accessLevel] ?? ''}` : undefined,
  ]);
}

export const COMMIT_HEADER = [
  'REPO',
  'BRANCH',
  'COMMIT',
  'FINISHED',
  'SIZE',
  'PROGRESS',
  'DESCRIPTION',
];

export function commitRow(info: CommitInfo, time: TimeStyle, paint: Paint): string[] {
  const open = info.finished === undefined;
  return [
    info.commit?.repo?.name ?? '',
    info.branch?.name || '<none>',
    info.commit?.id ?? '',
    formatTime(info.finished, time),
    open ? '-' : formatSize(info.sizeBytes),
    commitProgress(info, paint),
    info.description,
  ];
}

/** `inspect commit`, or the layout of `inspect-commit` with `repo/id`. */
export function commitBlock(info: CommitInfo, time: TimeStyle, old: boolean): string {
  const repo = info.commit?.repo?.name ?? '';
  const branch = info.branch?.name ?? '';
  const provenance = sortedProvenance(info.provenance).map((entry) => {
    const name = `${entry.commit?.repo?.name ?? ''}${old ? '/' : '@'}${entry.commit?.id ?? ''}`;
    return old ? name : `${name} (${entry.branch?.name ?? ''})`;
  });
  return lines([
    `Commit: ${repo}${old ? '/' : '@'}${info.commit?.id ?? ''}`,
    old || branch === '' ? undefined : `Original Branch: ${branch}`,
    info.description === '' ? undefined : `Description: ${info.description}`,
    info.parentCommit ? `Parent: ${info.parentCommit.id}` : undefined,
    `Started: ${formatTime(info.started, time)}`,
    info.finished ? `Finished: ${formatTime(info.finished, time)}` : undefined,
    `Size: ${formatSize(info.sizeBytes)}`,
    provenance.length > 0 ? `Provenance: ${spaced(provenance)}` : undefined,
  ]);
}

/** Each entry has a space on both sides. */
function spaced(entries: readonly string[]): string {
  return entries.map((entry) => ` ${entry} `).join('');
}

export const BRANCH_HEADER = ['BRANCH', 'HEAD', 'TRIGGER'];

export function branchRow(info: BranchInfo): string[] {
  return [info.branch?.name ?? info.name, info.head?.id || '-', triggerText(info.trigger)];
}

export function branchBlock(info: BranchInfo): string {
  const name = (branch: Branch | undefined): string =>
    `${branch?.repo?.name ?? ''}@${branch?.name ?? ''}`;
  const commit = (head: Commit): string => `${head.repo?.name ?? ''}@${head.id}`;
  return lines([
    `Name: ${name(info.branch)}`,
    info.head?.id ? `Head Commit: ${commit(info.head)} ` : undefined,
    info.provenance.length > 0 ? `Provenance: ${spaced(info.provenance.map(name))}` : undefined,
    info.trigger ? `Trigger: ${triggerText(info.trigger)} ` : undefined,
  ]);
}

export const FILE_HEADER = ['NAME', 'TYPE', 'SIZE'];
export const FILE_HISTORY_HEADER = ['COMMIT', 'NAME', 'TYPE', 'COMMITTED', 'SIZE'];

export function fileType(info: FileInfo): string {
  return info.fileType === FileType.DIR ? 'dir' : 'file';
}

export function fileRow(info: FileInfo): string[] {
  return [info.file?.path ?? '', fileType(info), formatSize(info.sizeBytes)];
}

export function fileHistoryRow(info: FileInfo, time: TimeStyle): string[] {
  return [
    info.file?.commit?.id ?? '',
    info.file?.path ?? '',
    fileType(info),
    formatTime(info.committed, time),
    formatSize(info.sizeBytes),
  ];
}

export function fileBlock(info: FileInfo): string {
  return lines([
    `Path: ${info.file?.path ?? ''}`,
    `Type: ${fileType(info)}`,
    `Size: ${formatSize(info.sizeBytes)}`,
    `Children: ${spaced(info.children)}`,
  ]);
}

/** Lines that exist, each ended by a newline. */
export function lines(list: readonly (string | undefined)[]): string {
  return list
    .filter((text) => text !== undefined)
    .map((text) => `${text}\n`)
    .join('');
}
