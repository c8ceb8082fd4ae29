/**
 * transaction.API, and the wrapper by which calls of other services join a transaction: those that
 * can, and that carry its id in their metadata, are recorded instead of being done.
 */
import type { Metadata } from '@grpc/grpc-js';
import { invalidInput } from '../../core/errors.js';
import type { Empty } from '../../proto/generated/google/protobuf/empty.js';
import type { APIServer as PfsServer } from '../../proto/generated/pfs.js';
import type { APIServer as PpsServer } from '../../proto/generated/pps.js';
import {
  TransactionRequest,
  type APIServer,
  type Transaction,
  type TransactionInfo,
} from '../../proto/generated/transaction.js';
import {
  transactionNotFound,
  type TransactionDetails,
  type Transactions,
} from '../transactions/index.js';
import type { CommitName } from '../versioning/index.js';
import type { Handlers, UnaryHandler } from './handler.js';
import { toCommit, toTimestamp } from './pfs-convert.js';

const HEADER = 'pach-transaction';
const EMPTY: Empty = {};

export function transactionHandlers(transactions: Transactions): Handlers<APIServer> {
  return {
    startTransaction: async (_request, ctx) => ({ id: await transactions.start(ctx) }),
    finishTransaction: async ({ transaction }, ctx) =>
      toInfo(await transactions.finish(idOf(transaction), ctx)),
    batchTransaction: async ({ requests }, ctx) => toInfo(await transactions.batch(requests, ctx)),
    inspectTransaction: async ({ transaction }, ctx) =>
      toInfo(await transactions.inspect(idOf(transaction), ctx)),
    listTransaction: async (_request, ctx) => ({
      transactionInfo: (await transactions.list(ctx)).map(toInfo),
    }),
    deleteTransaction: async ({ transaction }, ctx) => {
      await transactions.delete(idOf(transaction), ctx);
      return EMPTY;
    },
    deleteAll: async (_request, ctx) => {
      await transactions.deleteAll(ctx);
      return EMPTY;
    },
  };
}

/** The calls of pfs.API that join a transaction. */
export function joiningPfs(
  handlers: Handlers<PfsServer>,
  transactions: Transactions,
): Handlers<PfsServer> {
  const join = joiner(transactions);
  const startCommit = join(
    handlers.startCommit,
    (request) => ({ startCommit: request }),
    (commit) => toCommit(commit ?? { repo: '', id: '' }),
  );
  return {
    ...handlers,
    createRepo: join(handlers.createRepo, (createRepo) => ({ createRepo }), empty),
    // A delete in many steps can not be part of one.
    deleteRepo: join(
      handlers.deleteRepo,
      (request) => (request.splitTransaction ? undefined : { deleteRepo: request }),
      empty,
    ),
    startCommit,
    finishCommit: join(handlers.finishCommit, (finishCommit) => ({ finishCommit }), empty),
    deleteCommit: join(handlers.deleteCommit, (deleteCommit) => ({ deleteCommit }), empty),
    createBranch: join(handlers.createBranch, (createBranch) => ({ createBranch }), empty),
    deleteBranch: join(handlers.deleteBranch, (deleteBranch) => ({ deleteBranch }), empty),
  };
}

/** The calls of pps.API that join a transaction. */
export function joiningPps(
  handlers: Handlers<PpsServer>,
  transactions: Transactions,
): Handlers<PpsServer> {
  const join = joiner(transactions);
  return {
    ...handlers,
    updateJobState: join(handlers.updateJobState, (updateJobState) => ({ updateJobState }), empty),
    createPipeline: join(handlers.createPipeline, (createPipeline) => ({ createPipeline }), empty),
  };
}

/**
 * Makes the wrapper: `toRequest` answers what to record (undefined: the call is done at once after
 * all), `toReply` what to answer for it.
 */
function joiner(transactions: Transactions) {
  return <Q, S>(
    handler: UnaryHandler<Q, S> | undefined,
    toRequest: (request: Q) => Partial<TransactionRequest> | undefined,
    toReply: (commit: CommitName | undefined) => S,
  ): UnaryHandler<Q, S> => {
    if (!handler) throw new Error('a call that joins transactions needs its plain handler');
    return async (request, ctx) => {
      const recorded = toRequest(request);
      const id = recorded && activeTransaction(ctx.metadata);
      if (id === undefined) return handler(request, ctx);
      return toReply(await transactions.append(id, TransactionRequest.create(recorded), ctx));
    };
  };
}

/** The transaction a call wants to join. */
function activeTransaction(metadata: Metadata): string | undefined {
  // Values sent under one name arrive joined by commas.
  const ids = metadata.get(HEADER).flatMap((value) => value.toString().split(/,\s*/));
  if (ids.length > 1) throw invalidInput('multiple active transactions found in context');
  return ids[0] || undefined;
}

const empty = (): Empty => EMPTY;

function idOf(transaction: Transaction | undefined): string {
  if (!transaction?.id) throw transactionNotFound('');
  return transaction.id;
}

function toInfo({ id, started, requests }: TransactionDetails): TransactionInfo {
  return {
    transaction: { id },
    started: toTimestamp(started),
    requests: requests.map(({ request }) => request),
    responses: requests.map(({ commit }) => ({ commit: commit && toCommit(commit) })),
  };
}
