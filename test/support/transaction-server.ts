/** The rpcs of repos, pipelines and transactions behind one gRPC server, without any worker. */
import { Metadata } from '@grpc/grpc-js';
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import { ResourceStack } from '../../core/resource-stack.js';
import { NEVER } from '../../core/signals.js';
import { openPipelines, type Pipelines } from '../../coordinator/pipelines/index.js';
import { adminHandlers } from '../../coordinator/rpc/misc.js';
import { pfsHandlers } from '../../coordinator/rpc/pfs.js';
import { requestRunner } from '../../coordinator/rpc/transaction-steps.js';
import { joiningPfs, joiningPps, transactionHandlers } from '../../coordinator/rpc/transaction.js';
import { openGrpcServer, service } from '../../coordinator/server.js';
import { Transactions } from '../../coordinator/transactions/index.js';
import { CLIENT_OPTIONS, insecure } from '../../proto/channel.js';
import {
  APIService as AdminService,
  type APIServer as AdminServer,
} from '../../proto/generated/admin.js';
import type { APIClient as PfsApi, APIServer as PfsServer } from '../../proto/generated/pfs.js';
import {
  APIClient as PpsClient,
  APIService as PpsService,
  type APIServer as PpsServer,
} from '../../proto/generated/pps.js';
import {
  APIClient as TransactionClient,
  APIService as TransactionService,
  type APIServer as TransactionsServer,
} from '../../proto/generated/transaction.js';
import { PfsClient, PfsService } from '../../proto/services.js';
import type { EtcdServer } from './etcd.js';
import { openVersioningStack, type VersioningStack } from './versioning.js';

/** One coordinator's worth of handlers, as far as transactions are concerned. */
export class TransactionServer implements AsyncDisposable {
  readonly own = new ResourceStack();
  stack!: VersioningStack & { prefix: string; storeDir: string };
  pipelines!: Pipelines;
  address!: string;
  pfs!: PfsApi;
  pps!: PpsClient;
  transactions!: TransactionClient;

  /** `o`: the key space and the store of another one, to join it. */
  static async open(
    etcd: EtcdServer,
    o: { prefix?: string; storeDir?: string } = {},
  ): Promise<TransactionServer> {
    const wait = { signal: NEVER };
    const server = new TransactionServer();
    const { own } = server;
    const base = { clock: systemClock, log: silentLog };
    const stack = (server.stack = own.use(await openVersioningStack(etcd, o)));
    const { versioning } = stack;
    const pipelines = own.use(await openPipelines({ ...stack, ...base }, wait));
    server.pipelines = pipelines;
    const run = requestRunner({ versioning, pipelines });
    const transactions = new Transactions({ ...stack, ...base, run });
    const pps = joiningPps(
      {
        listPipeline: async (request, ctx) => {
          const pipelineInfo = [];
          for await (const info of pipelines.list(request, ctx)) pipelineInfo.push(info);
          return { pipelineInfo };
        },
        inspectPipeline: ({ pipeline }, ctx) => pipelines.inspect(pipeline?.name ?? '', ctx),
        startPipeline: async ({ pipeline }, ctx) => (
          await pipelines.start(pipeline?.name ?? '', ctx),
          {}
        ),
        stopPipeline: async ({ pipeline }, ctx) => (
          await pipelines.stop(pipeline?.name ?? '', ctx),
          {}
        ),
        deletePipeline: async (request, ctx) => (await pipelines.delete(request, ctx), {}),
        deleteAll: async (_request, ctx) => (await pipelines.deleteAll(ctx), {}),
        createPipeline: async (request, ctx) => (await pipelines.create(request, ctx), {}),
        updateJobState: async (request, ctx) => (await pipelines.updateJobState(request, ctx), {}),
      },
      transactions,
    );
    const pfs = joiningPfs(pfsHandlers({ versioning }), transactions);
    const grpc = own.use(
      await openGrpcServer(
        [
          service<PfsServer>(PfsService, pfs),
          service<PpsServer>(PpsService, pps),
          service<AdminServer>(AdminService, adminHandlers({ clusterId: 'test', pipelines })),
          service<TransactionsServer>(TransactionService, transactionHandlers(transactions)),
        ],
        { listen: '127.0.0.1:0', ...base },
      ),
    );
    const address = `127.0.0.1:${grpc.port}`;
    server.address = address;
    server.pfs = new PfsClient(address, insecure(), CLIENT_OPTIONS);
    server.pps = new PpsClient(address, insecure(), CLIENT_OPTIONS);
    server.transactions = new TransactionClient(address, insecure(), CLIENT_OPTIONS);
    for (const client of [server.pfs, server.pps, server.transactions]) {
      own.defer(async () => client.close());
    }
    return server;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.own[Symbol.asyncDispose]();
  }
}

/** Calls a method of a client; `join`: ids to send as the active transaction. */
export async function call<T>(
  client: object,
  method: string,
  request: object = {},
  join: readonly string[] = [],
): Promise<T> {
  const metadata = new Metadata();
  for (const id of join) metadata.add('pach-transaction', id);
  return new Promise<T>((resolve, reject) => {
    const start = (client as Record<string, unknown>)[method] as (
      q: object,
      m: Metadata,
      done: (error: unknown, reply: T) => void,
    ) => void;
    start.call(client, request, metadata, (error, reply) => {
      if (error) reject(error as Error);
      else resolve(reply);
    });
  });
}
