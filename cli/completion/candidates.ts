/** Looks up the names that complete a word: from the server, from the local disk, or given words. */
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  GlobFileRequest,
  ListBranchRequest,
  ListCommitRequest,
  ListRepoRequest,
  FileType,
} from '../../proto/generated/pfs.js';
import {
  APIClient as PpsApi,
  ListDatumRequest,
  ListJobRequest,
  ListPipelineRequest,
} from '../../proto/generated/pps.js';
import {
  APIClient as TransactionApi,
  ListTransactionRequest,
} from '../../proto/generated/transaction.js';
import { readConfig } from '../client/config-file.js';
import type { Session } from '../session.js';
import { SPEC_REPO } from '../render/pfs.js';
import type { Wanted } from './wanted.js';

/** No more than this many of one kind: a list nobody reads to the end. */
const MOST = 200;
/** A shell waits for this at every press of the key. */
const DEADLINE_MS = 2_000;

/** Everything of the wanted kind that goes on from `current`, whole words, sorted. */
export async function candidates(
  session: Session,
  want: Wanted,
  current: string,
): Promise<string[]> {
  const found = await namesOf(session, want, current);
  const fitting = [...new Set(found)].filter((name) => name.startsWith(current));
  // Commits are newest first for a reason; everything else reads best in order.
  return fitting.sort().slice(0, MOST);
}

async function namesOf(session: Session, want: Wanted, current: string): Promise<string[]> {
  switch (want.kind) {
    case 'words':
      return [...want.words];
    case 'local-file':
      return localFiles(current);
    case 'context':
      return Object.keys(readConfig(session.env).v2.contexts);
    case 'repo':
      return repos(session);
    case 'branch-or-commit':
      return branchesAndCommits(session, want.repo);
    case 'path':
      return paths(session, want.repo, want.commit, current);
    case 'ref':
      return refs(session, current, want.file);
    default:
      return ppsNames(session, want);
  }
}

/** `repo@`, then `repo@branch` (with `:` where a path may follow), then `repo@branch:path`. */
async function refs(session: Session, current: string, file: boolean): Promise<string[]> {
  const at = current.indexOf('@');
  if (at < 0) return (await repos(session)).map((name) => `${name}@`);
  const repo = current.slice(0, at);
  const colon = current.indexOf(':', at);
  if (colon < 0 || !file) {
    const names = await branchesAndCommits(session, repo);
    return names.map((name) => `${repo}@${name}${file ? ':' : ''}`);
  }
  const commit = current.slice(at + 1, colon);
  const found = await paths(session, repo, commit, current.slice(colon + 1));
  return found.map((path) => `${current.slice(0, colon + 1)}${path}`);
}

async function repos(session: Session): Promise<string[]> {
  const client = await session.client();
  const request = ListRepoRequest.fromPartial({});
  const { repoInfo } = await client.unary(client.pfs.listRepo, request, DEADLINE_MS);
  return repoInfo.map(({ repo }) => repo?.name ?? '').filter((name) => name !== SPEC_REPO);
}

async function branchesAndCommits(session: Session, repo: string): Promise<string[]> {
  const client = await session.client();
  const branches = await client.unary(
    client.pfs.listBranch,
    ListBranchRequest.fromPartial({ repo: { name: repo } }),
    DEADLINE_MS,
  );
  const names = branches.branchInfo.map((info) => info.branch?.name ?? info.name);
  const commits = client.stream(
    client.pfs.listCommitStream,
    ListCommitRequest.fromPartial({ repo: { name: repo }, number: MOST }),
  );
  for await (const info of commits) names.push(info.commit?.id ?? '');
  return names.filter((name) => name !== '');
}

/** Paths below what is typed, one level at a time; directories end in a slash. */
async function paths(
  session: Session,
  repo: string,
  commit: string,
  typed: string,
): Promise<string[]> {
  const client = await session.client();
  const absolute = typed.startsWith('/');
  const pattern = `${typed.replace(/[*?[\]{}!()@+^\\]/g, '\\$&')}*`;
  const request = GlobFileRequest.fromPartial({
    commit: { repo: { name: repo }, id: commit },
    pattern,
  });
  const found: string[] = [];
  for await (const info of client.stream(client.pfs.globFileStream, request)) {
    const path = info.file?.path ?? '';
    const slash = info.fileType === FileType.DIR ? '/' : '';
    found.push(`${absolute ? path : path.slice(1)}${slash}`);
    if (found.length >= MOST) break;
  }
  return found;
}

async function ppsNames(
  session: Session,
  want: Exclude<Wanted, { kind: 'words' | 'ref' | 'branch-or-commit' | 'path' }>,
): Promise<string[]> {
  const client = await session.client();
  const pps = client.service(PpsApi);
  if (want.kind === 'pipeline') {
    const request = ListPipelineRequest.fromPartial({});
    const { pipelineInfo } = await client.unary(pps.listPipeline, request, DEADLINE_MS);
    return pipelineInfo.map((info) => info.pipeline?.name ?? '');
  }
  if (want.kind === 'transaction') {
    const api = client.service(TransactionApi);
    const request = ListTransactionRequest.fromPartial({});
    const { transactionInfo } = await client.unary(api.listTransaction, request, DEADLINE_MS);
    return transactionInfo.map((info) => info.transaction?.id ?? '');
  }
  const names: string[] = [];
  if (want.kind === 'datum') {
    const request = ListDatumRequest.fromPartial({ job: { id: want.job } });
    for await (const { datumInfo } of client.stream(pps.listDatumStream, request)) {
      if (names.push(datumInfo?.datum?.id ?? '') >= MOST) break;
    }
    return names;
  }
  const request = ListJobRequest.fromPartial({ history: -1 });
  for await (const info of client.stream(pps.listJobStream, request)) {
    if (names.push(info.job?.id ?? '') >= MOST) break;
  }
  return names;
}

function localFiles(typed: string): string[] {
  const folder = typed.endsWith('/') ? typed : dirname(typed);
  const shown = typed.includes('/') ? folder.replace(/\/?$/, '/') : '';
  try {
    return readdirSync(folder === '' ? '.' : folder, { withFileTypes: true }).map(
      (entry) => `${shown}${entry.name}${entry.isDirectory() ? '/' : ''}`,
    );
  } catch {
    return [];
  }
}
