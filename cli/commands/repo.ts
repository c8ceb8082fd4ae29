/** create, update, inspect, list and delete repo. */
import { invalidInput } from '../../core/errors.js';
import {
  CreateRepoRequest,
  DeleteRepoRequest,
  InspectRepoRequest,
  ListRepoRequest,
} from '../../proto/generated/pfs.js';
import type { Call } from '../grammar/command.js';
import { repoBlock, repoHeader, repoRow, SPEC_REPO } from '../render/pfs.js';
import { noteJoined } from './joins.js';
import { printList, rawJson, timeStyle } from './output.js';

export const createRepo = (call: Call): Promise<void> => putRepo(call, { update: false });
export const updateRepo = (call: Call): Promise<void> => putRepo(call, { update: true });

async function putRepo({ session, args, flags }: Call, how: { update: boolean }): Promise<void> {
  const client = await session.client();
  const request = CreateRepoRequest.fromPartial({
    repo: { name: args[0] ?? '' },
    description: flags.text('description'),
    update: how.update,
  });
  await client.unary(client.pfs.createRepo, request);
}

export async function inspectRepo(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const client = await session.client();
  const info = await client.unary(
    client.pfs.inspectRepo,
    InspectRepoRequest.fromPartial({ repo: { name: args[0] ?? '' } }),
  );
  session.out(flags.bool('raw') ? rawJson(info, 'pfs.RepoInfo') : repoBlock(info, timeStyle(call)));
}

export async function listRepo(call: Call): Promise<void> {
  const client = await call.session.client();
  const { repoInfo } = await client.unary(client.pfs.listRepo, ListRepoRequest.fromPartial({}));
  const visible = repoInfo.filter((info) => info.repo?.name !== SPEC_REPO);
  const withAccess = visible[0]?.authInfo !== undefined;
  const time = timeStyle(call);
  await printList(call, visible, {
    type: 'pfs.RepoInfo',
    header: repoHeader(withAccess),
    row: (info) => repoRow(info, time, withAccess),
  });
}

export async function deleteRepo({ session, args, flags }: Call): Promise<void> {
  const [name] = args;
  const all = flags.bool('all');
  if (name !== undefined && all) throw invalidInput('cannot use the --all flag with an argument');
  if (name === undefined && !all) {
    throw invalidInput('either a repo name or the --all flag needs to be provided');
  }
  const client = await session.client();
  const request = DeleteRepoRequest.fromPartial({
    ...(name === undefined ? {} : { repo: { name } }),
    force: flags.bool('force'),
    all,
    splitTransaction: flags.bool('split-txn'),
  });
  await client.unary(client.pfs.deleteRepo, request);
  // In many steps it is done at once, whatever transaction is active.
  if (!request.splitTransaction) await noteJoined(session);
}
