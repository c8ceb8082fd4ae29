/** start, stop, resume, finish, delete, inspect and list transaction. */
import { stateConflict } from '../../core/errors.js';
import {
  APIClient,
  DeleteTransactionRequest,
  FinishTransactionRequest,
  InspectTransactionRequest,
  ListTransactionRequest,
  StartTransactionRequest,
  type TransactionInfo,
  type TransactionRequest,
} from '../../proto/generated/transaction.js';
import { activeContext, readConfig, writeConfig } from '../client/config-file.js';
import type { Call } from '../grammar/command.js';
import { formatTime, type TimeStyle } from '../render/duration.js';
import { lines } from '../render/pfs.js';
import type { Env, Session } from '../session.js';
import { printList, rawJson, timeStyle } from './output.js';

async function service(session: Session) {
  const client = await session.client();
  return { client, api: client.service(APIClient) };
}

function active(env: Env): string | undefined {
  return activeContext(env, readConfig(env)).context.active_transaction || undefined;
}

function setActive(env: Env, id: string | undefined): void {
  const data = readConfig(env);
  const { name, context } = activeContext(env, data);
  if (id === undefined) delete context.active_transaction;
  else context.active_transaction = id;
  data.v2.contexts[name] = context;
  writeConfig(env, data);
}

function idOf({ session, args }: Call): string {
  const id = args[0] ?? active(session.env);
  if (id === undefined) throw stateConflict('no active transaction');
  return id;
}

export async function startTransaction({ session }: Call): Promise<void> {
  const open = active(session.env);
  if (open !== undefined) {
    throw stateConflict(
      `cannot start a new transaction, since transaction with ID ${JSON.stringify(open)} already exists`,
    );
  }
  const { client, api } = await service(session);
  const { id } = await client.unary(api.startTransaction, StartTransactionRequest.fromPartial({}));
  setActive(session.env, id);
  session.out(`started new transaction: ${JSON.stringify(id)}\n`);
}

export async function stopTransaction(call: Call): Promise<void> {
  await Promise.resolve();
  const id = idOf(call);
  setActive(call.session.env, undefined);
  call.session.out(`Cleared active transaction: ${id}\n`);
}

async function inspect(session: Session, id: string): Promise<TransactionInfo> {
  const { client, api } = await service(session);
  return await client.unary(
    api.inspectTransaction,
    InspectTransactionRequest.fromPartial({ transaction: { id } }),
  );
}

export async function resumeTransaction({ session, args }: Call): Promise<void> {
  const info = await inspect(session, args[0] ?? '');
  const id = info.transaction?.id ?? '';
  setActive(session.env, id);
  session.out(`Resuming existing transaction with ${info.requests.length} requests: ${id}\n`);
}

export async function finishTransaction(call: Call): Promise<void> {
  const { session } = call;
  const id = idOf(call);
  const { client, api } = await service(session);
  const info = await client.unary(
    api.finishTransaction,
    FinishTransactionRequest.fromPartial({ transaction: { id } }),
  );
  if (active(session.env) === id) setActive(session.env, undefined);
  session.out(`Completed transaction with ${info.requests.length} requests: ${id}\n`);
}

export async function deleteTransaction(call: Call): Promise<void> {
  const { session } = call;
  const id = idOf(call);
  const { client, api } = await service(session);
  await client.unary(
    api.deleteTransaction,
    DeleteTransactionRequest.fromPartial({ transaction: { id } }),
  );
  if (active(session.env) === id) setActive(session.env, undefined);
}

export async function inspectTransaction(call: Call): Promise<void> {
  const { session, flags } = call;
  const info = await inspect(session, idOf(call));
  session.out(
    flags.bool('raw')
      ? rawJson(info, 'transaction.TransactionInfo')
      : transactionBlock(info, timeStyle(call)),
  );
}

export async function listTransaction(call: Call): Promise<void> {
  const { client, api } = await service(call.session);
  const { transactionInfo } = await client.unary(
    api.listTransaction,
    ListTransactionRequest.fromPartial({}),
  );
  const time = timeStyle(call);
  await printList(call, transactionInfo, {
    type: 'transaction.TransactionInfo',
    header: ['TRANSACTION', 'STARTED', 'OPS'],
    row: (info) => [
      info.transaction?.id ?? '',
      formatTime(info.started, time),
      String(info.requests.length),
    ],
    options: { bareRowEnd: true },
  });
}

/** `inspect transaction`: one line per recorded request. */
export function transactionBlock(info: TransactionInfo, time: TimeStyle): string {
  const requests = info.requests.map((request, index) =>
    requestLine(request, info.responses[index]?.commit?.id ?? ''),
  );
  return lines([
    `ID: ${info.transaction?.id ?? ''}`,
    `Started: ${formatTime(info.started, time)}`,
    'Requests:',
    ...(requests.length > 0 ? requests.map((text) => `  ${text}`) : ['  -']),
  ]);
}

function requestLine(request: TransactionRequest, commitId: string): string {
  const at = (repo: string | undefined, id: string | undefined): string =>
    `${repo ?? ''}@${id ?? ''}`;
  const force = (on: boolean): string => (on ? ' --force' : '');
  if (request.createRepo) {
    const { update, repo } = request.createRepo;
    return `${update ? 'update' : 'create'} repo ${repo?.name ?? ''}`;
  }
  if (request.deleteRepo) {
    const { all, force: forced, repo } = request.deleteRepo;
    return all ? 'delete repo --all' : `delete repo ${repo?.name ?? ''} ${force(forced)}`;
  }
  if (request.startCommit) {
    const { parent, branch } = request.startCommit;
    return `start commit ${at(parent?.repo?.name, branch)} (${commitId})`;
  }
  if (request.finishCommit) {
    const { commit } = request.finishCommit;
    return `finish commit ${at(commit?.repo?.name, commit?.id)}`;
  }
  if (request.deleteCommit) {
    const { commit } = request.deleteCommit;
    return `delete commit ${at(commit?.repo?.name, commit?.id)}`;
  }
  if (request.createBranch) {
    const { branch } = request.createBranch;
    return `create branch ${at(branch?.repo?.name, branch?.name)}`;
  }
  if (request.deleteBranch) {
    const { branch, force: forced } = request.deleteBranch;
    return `delete branch ${at(branch?.repo?.name, branch?.name)}${force(forced)}`;
  }
  if (request.createPipeline) {
    const { update, pipeline } = request.createPipeline;
    return `${update ? 'update' : 'create'} pipeline ${pipeline?.name ?? ''}`;
  }
  return 'ERROR (unknown request type)';
}
