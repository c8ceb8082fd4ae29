/** inspect cluster, delete all, fsck, garbage-collect, and words old tutorials use. */
import { Empty } from '../../proto/generated/google/protobuf/empty.js';
import { APIClient as AdminClient } from '../../proto/generated/admin.js';
import { FsckRequest, ListRepoRequest } from '../../proto/generated/pfs.js';
import { ListPipelineRequest } from '../../proto/generated/pps.js';
import { APIClient as TransactionClient } from '../../proto/generated/transaction.js';
import { readConfig, writeConfig } from '../client/config-file.js';
import type { Call } from '../grammar/command.js';
import { SPEC_REPO } from '../render/pfs.js';
import { ppsOf } from './pps-client.js';
import { confirm } from './prompt.js';

export async function inspectCluster({ session }: Call): Promise<void> {
  const client = await session.client();
  const admin = client.service(AdminClient);
  const info = await client.unary(admin.inspectCluster, Empty.fromPartial({}));
  session.out(`${info.id}\n`);
}

export async function deleteAll({ session }: Call): Promise<void> {
  const { client, pps } = await ppsOf(session);
  const { repoInfo } = await client.unary(client.pfs.listRepo, ListRepoRequest.fromPartial({}));
  const { pipelineInfo } = await client.unary(
    pps.listPipeline,
    ListPipelineRequest.fromPartial({ allowIncomplete: true }),
  );
  const repos = repoInfo
    .map((info) => info.repo?.name ?? '')
    .filter((name) => name !== SPEC_REPO)
    .sort();
  const pipelines = pipelineInfo.map((info) => info.pipeline?.name ?? '').sort();
  session.note('This deletes every repo, commit, file, pipeline, job and transaction.');
  if (repos.length > 0) session.note(`Repos to delete: ${repos.join(', ')}`);
  if (pipelines.length > 0) session.note(`Pipelines to delete: ${pipelines.join(', ')}`);
  if (!(await confirm(session, 'Are you sure you want to do this?'))) return;
  await client.unary(pps.deleteAll, Empty.fromPartial({}));
  await client.unary(client.pfs.deleteAll, Empty.fromPartial({}));
  await client.unary(client.service(TransactionClient).deleteAll, {});
  forgetTransaction(session.env);
}

/** The active transaction is gone with everything else. */
function forgetTransaction(env: Call['session']['env']): void {
  const data = readConfig(env);
  const open = Object.values(data.v2.contexts).filter((context) => context.active_transaction);
  for (const context of open) delete context.active_transaction;
  if (open.length > 0) writeConfig(env, data);
}

export async function fsck({ session, flags }: Call): Promise<void> {
  const client = await session.client();
  const request = FsckRequest.fromPartial({
    fix: flags.bool('fix'),
    data: flags.bool('data'),
    noObjects: flags.bool('no-objects'),
  });
  let errors = 0;
  for await (const { error, fix } of client.stream(client.pfs.fsck, request)) {
    if (error !== '') {
      errors += 1;
      session.out(`Error: ${error}\n`);
    } else session.out(`Fix applied: ${fix}\n`);
  }
  if (errors === 0) session.out('No errors found.\n');
}

export async function portForward({ session }: Call): Promise<void> {
  const { chooseTarget, formatAddress } = await import('../client/address.js');
  const target = chooseTarget(session.env);
  session.out(
    `Nothing to forward: the server is reached directly at ${formatAddress(target.address)}.\n`,
  );
}

export async function enterpriseState({ session }: Call): Promise<void> {
  session.out('No Pachyderm Enterprise token was found\n');
  await Promise.resolve();
}
