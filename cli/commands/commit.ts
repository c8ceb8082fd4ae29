/** start, finish, inspect, list, flush, subscribe and delete commit. */
import { invalidInput } from '../../core/errors.js';
import {
  CommitState,
  DeleteCommitRequest,
  FinishCommitRequest,
  FlushCommitRequest,
  InspectCommitRequest,
  ListCommitRequest,
  StartCommitRequest,
  SubscribeCommitRequest,
  type CommitInfo,
} from '../../proto/generated/pfs.js';
import type { Call } from '../grammar/command.js';
import { parseBranchRef, parseCommitRef, type CommitRef } from '../grammar/refs.js';
import { COMMIT_HEADER, commitBlock, commitRow, SPEC_REPO } from '../render/pfs.js';
import { LiveTable } from '../render/table.js';
import { jobsBelow, streamWithBars } from './job-progress.js';
import { printList, rawJson, RawWriter, timeStyle } from './output.js';
import { ppsOf } from './pps-client.js';

const commitOf = (ref: CommitRef) => ({ repo: { name: ref.repo }, id: ref.id });

function messageFlag({ flags }: Call): string {
  return flags.given('message') ? flags.text('message') : flags.text('description');
}

export async function startCommit(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const ref = parseCommitRef(args[0] ?? '');
  const client = await session.client();
  const request = StartCommitRequest.fromPartial({
    parent: { repo: { name: ref.repo }, id: flags.text('parent') },
    branch: ref.id,
    description: messageFlag(call),
  });
  const commit = await client.unary(client.pfs.startCommit, request);
  session.out(`${commit.id}\n`);
}

export async function finishCommit(call: Call): Promise<void> {
  const client = await call.session.client();
  const request = FinishCommitRequest.fromPartial({
    commit: commitOf(parseCommitRef(call.args[0] ?? '')),
    description: messageFlag(call),
  });
  await client.unary(client.pfs.finishCommit, request);
}

export async function inspectCommit(call: Call): Promise<void> {
  const { session, args, flags, hyphenated } = call;
  const client = await session.client();
  const request = InspectCommitRequest.fromPartial({
    commit: commitOf(parseCommitRef(args[0] ?? '')),
    blockState: CommitState.STARTED,
  });
  const info = await client.unary(client.pfs.inspectCommit, request);
  session.out(
    flags.bool('raw')
      ? rawJson(info, 'pfs.CommitInfo')
      : commitBlock(info, timeStyle(call), hyphenated),
  );
}

export async function listCommit(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const ref = parseCommitRef(args[0] ?? '');
  const from = flags.text('from');
  const number = flags.number('number');
  if (number < 0) throw invalidInput(`--number must not be negative, got ${number}`);
  const client = await session.client();
  const request = ListCommitRequest.fromPartial({
    repo: { name: ref.repo },
    ...(from === '' ? {} : { from: { repo: { name: ref.repo }, id: from } }),
    ...(ref.id === '' ? {} : { to: commitOf(ref) }),
    number,
  });
  await printCommits(call, client.stream(client.pfs.listCommitStream, request));
}

export async function flushCommit(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const { client, pps } = await ppsOf(session);
  const request = FlushCommitRequest.fromPartial({
    commits: args.map((text) => commitOf(parseCommitRef(text))),
    toRepos: flags.list('repos').map((name) => ({ name })),
  });
  const look = jobsBelow(client, pps, request.commits);
  const commits = client.stream(client.pfs.flushCommit, request);
  await printCommits(call, streamWithBars(call, look, commits));
}

async function printCommits(call: Call, commits: AsyncIterable<CommitInfo>): Promise<void> {
  const time = timeStyle(call);
  await printList(call, commits, {
    type: 'pfs.CommitInfo',
    header: COMMIT_HEADER,
    row: (info) => commitRow(info, time, call.session.paint),
    options: { bareHeaderEnd: true },
  });
}

/** Never ends by itself; every commit is printed as soon as it is known. */
export async function subscribeCommit(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const ref = parseBranchRef(args[0] ?? '');
  const from = flags.text('from');
  const onlyNew = flags.bool('new');
  if (onlyNew && from !== '') throw invalidInput('--new and --from cannot be used together');
  const pipeline = flags.text('pipeline');
  const client = await session.client();
  const request = SubscribeCommitRequest.fromPartial({
    repo: { name: ref.repo },
    branch: ref.id,
    state: CommitState.STARTED,
    ...(from === '' ? {} : { from: { repo: { name: ref.repo }, id: from } }),
    ...(onlyNew ? { from: commitOf(ref) } : {}),
    ...(pipeline === '' ? {} : { prov: await specProvenance(call, pipeline) }),
  });
  const commits = client.stream(client.pfs.subscribeCommit, request);
  if (flags.bool('raw')) {
    const writer = new RawWriter(session, 'pfs.CommitInfo');
    for await (const info of commits) await writer.write(info);
    return;
  }
  const expected = [ref.repo.length, ref.id.length, 32, 16, 9, 8];
  const table = new LiveTable(COMMIT_HEADER, expected, (text) => session.out(text));
  for await (const info of commits) table.row(commitRow(info, timeStyle(call), session.paint));
}

/** What every commit made by the current version of a pipeline has in its provenance. */
async function specProvenance({ session }: Call, pipeline: string) {
  const [client, { APIClient, InspectPipelineRequest }] = await Promise.all([
    session.client(),
    import('../../proto/generated/pps.js'),
  ]);
  const info = await client.unary(
    client.service(APIClient).inspectPipeline,
    InspectPipelineRequest.fromPartial({ pipeline: { name: pipeline } }),
  );
  const repo = { name: SPEC_REPO };
  return { commit: { repo, id: info.specCommit?.id ?? '' }, branch: { repo, name: pipeline } };
}

export async function deleteCommit(call: Call): Promise<void> {
  const client = await call.session.client();
  const request = DeleteCommitRequest.fromPartial({
    commit: commitOf(parseCommitRef(call.args[0] ?? '')),
  });
  await client.unary(client.pfs.deleteCommit, request);
}
