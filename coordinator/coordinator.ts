/**
 * Puts a coordinator together: the only place that knows every part by name. Opens in the order
 * etcd → object store → NATS → use cases → owners → gRPC, closes in reverse, and closes what was
 * opened when a later part can not start.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../core/clock.js';
import { newUuid } from '../core/ids.js';
import type { Log } from '../core/log.js';
import type { RecentLines } from '../core/recent-lines.js';
import { ResourceStack } from '../core/resource-stack.js';
import { sha256Hex } from '../core/sha256.js';
import { APIService as AdminService } from '../proto/generated/admin.js';
import { APIService as AuthService } from '../proto/generated/auth.js';
import { DebugService } from '../proto/generated/debug.js';
import { APIService as EnterpriseService } from '../proto/generated/enterprise.js';
import { HealthService } from '../proto/generated/health.js';
import { ObjectAPIService, type APIServer as PfsServer } from '../proto/generated/pfs.js';
import { APIService as PpsService } from '../proto/generated/pps.js';
import { APIService as TransactionService } from '../proto/generated/transaction.js';
import {
  BackupService,
  ClusterService,
  JobsService,
  StorageService,
  type WorkerConfig,
} from '../proto/generated/tusk.js';
import { APIService as VersionService } from '../proto/generated/versionpb.js';
import { PfsService } from '../proto/services.js';
import { openQueue } from '../queue/index.js';
import { openStorage } from '../storage/index.js';
import type { Wait } from '../storage/types.js';
import type { CoordinatorConfig, CoordinatorSecrets } from './config.js';
import { ticking } from './cron/index.js';
import { egressWanted, runEgress } from './egress/index.js';
import { polling, webhookApi } from './git/index.js';
import { handOutSecrets, openBox, Secrets } from './secrets/index.js';
import { GarbageCollector } from './gc/collector.js';
import { openEpochs } from './gc/epochs.js';
import { checkStored } from './gc/object-check.js';
import { openGateways } from './gateway/index.js';
import { openMeta, type Meta } from './meta/index.js';
import { StoredObjects } from './objects/stored-objects.js';
import { lostOutput, openPipelines } from './pipelines/index.js';
import { Admin } from './admin/index.js';
import { backupHandlers } from './rpc/backup.js';
import { clusterHandlers } from './rpc/cluster.js';
import {
  adminHandlers,
  authHandlers,
  enterpriseHandlers,
  healthHandlers,
  versionHandlers,
} from './rpc/misc.js';
import { objectHandlers } from './rpc/objects.js';
import { pfsFileHandlers } from './rpc/pfs-files.js';
import { tuskJobsHandlers } from './rpc/tusk-jobs.js';
import { tuskFilesHandlers, TuskFilesService } from './rpc/tusk-files.js';
import { pfsHandlers } from './rpc/pfs.js';
import { ppsHandlers } from './rpc/pps.js';
import { storageHandlers } from './rpc/storage.js';
import { requestRunner } from './rpc/transaction-steps.js';
import { joiningPfs, joiningPps, transactionHandlers } from './rpc/transaction.js';
import { openPlanPool, openScheduler } from './scheduling/index.js';
import { openGrpcServer, service } from './server.js';
import { partChecks } from './parts.js';
import { Transactions } from './transactions/index.js';
import { putFiles } from './versioning/files/put-files.js';
import { Uploads, type UploadsDeps } from './versioning/files/uploads.js';
import { openVersioning } from './versioning/index.js';

/** Version of this program; the API version clients see is in rpc/misc. */
const VERSION = '0.1.0';
/** How long a silent worker keeps its place. */
const WORKER_LEASE_MS = 15_000;

export interface CoordinatorDeps {
  readonly config: CoordinatorConfig;
  readonly secrets: CoordinatorSecrets;
  readonly log: Log;
  /** What the log wrote lately. */
  readonly recent: RecentLines;
  readonly clock: Clock;
}

export interface Coordinator extends AsyncDisposable {
  readonly port: number;
  readonly s3Port: number | undefined;
  readonly httpPort: number | undefined;
}

/** Opens everything and serves. The error of a part that can not start says which and why. */
export async function openCoordinator(deps: CoordinatorDeps, wait: Wait): Promise<Coordinator> {
  const { config, secrets, log, recent, clock } = deps;
  const stack = new ResourceStack();
  try {
    const meta = stack.use(await openMeta({ endpoints: config.etcd, log, clock }, wait));
    const clusterId = await identity(meta, wait);
    const name = `${hostname()}:${config.listen.slice(config.listen.lastIndexOf(':') + 1)}`;
    const epochs = stack.use(await openEpochs({ meta, clock, log, name }, wait));
    const storage = stack.use(
      await openStorage({
        url: config.store,
        epoch: epochs,
        // Large merges must not keep leases and calls waiting.
        treeThread: true,
        log,
        clock,
        ...(secrets.s3 ? { s3: secrets.s3 } : {}),
      }),
    );
    // Workers look for this mark: a directory of the same name on another machine lacks it.
    await storage.objects.put(`cluster/0/${clusterId}`, Buffer.from(clusterId), wait);
    const queue = stack.use(
      await openQueue({ servers: config.nats, name: 'coordinator', log, clock }),
    );
    await queue.ensureStreams(wait);
    const versioning = stack.use(await openVersioning({ meta, storage, clock, log }, wait));
    epochs.onRaise(() => versioning.forgetAll());
    const pipelines = stack.use(
      await openPipelines({ meta, storage, versioning, clock, log }, wait),
    );
    // Why sources of pipelines can not be read, as long as that is so.
    const troubles = new Map<string, string>();
    const secretStore = new Secrets({ meta, box: openBox(config.secretsKeyFile), clock });
    const store = { url: config.store, ...(secrets.s3 ? { s3: secrets.s3 } : {}) };
    const planPool = openPlanPool(store, log, () => storage.epoch);
    if (planPool) stack.use(planPool);
    const scheduling = stack.use(
      await openScheduler(
        {
          ...{ meta, storage, queue, versioning, log, clock },
          ...(planPool ? { planPool } : {}),
          loadSpec: pipelines.loadSpec,
          replica: replicaName(config),
          workerConfig: workerConfig(clusterId, config, secrets),
          troubleOf: async (record, info, inner) =>
            troubles.get(record.name) ??
            (await secretStore.trouble(info, inner)) ??
            (await lostOutput(meta, record, inner)),
          egress: {
            wanted: egressWanted,
            run: (out, inner) =>
              runEgress({ meta, storage, clock, localTargets: config.localTargets }, out, inner),
          },
          beside: [
            ticking({ storage, versioning, clock, log, loadSpec: pipelines.loadSpec }),
            polling({
              ...{ meta, storage, versioning, clock, log, troubles },
              loadSpec: pipelines.loadSpec,
              localSources: config.localSources,
              pollMs: config.gitPollSeconds * 1000,
            }),
          ],
        },
        wait,
      ),
    );
    const thread = {
      ...{ meta, storage, clock },
      setup: { url: config.store, ...(secrets.s3 ? { s3: secrets.s3 } : {}) },
    };
    const collector = new GarbageCollector({ ...thread, log, name });
    const run = requestRunner({ versioning, pipelines });
    const transactions = new Transactions({ meta, versioning, clock, log, run });
    const parts = partChecks({ meta, storage, queue, config });
    const fileDeps = { storage, versioning, localSources: config.localSources };
    // An upload may outlive the calls that feed it.
    const put: UploadsDeps['put'] = async (items, options) => {
      using hold = epochs.hold('writes');
      const signal = AbortSignal.any([options.signal, hold.signal]);
      await putFiles(fileDeps, items, { ...options, signal });
    };
    const uploads = stack.use(new Uploads({ put, clock }));
    const files = pfsFileHandlers({ ...fileDeps, uploads });
    const admin = new Admin({
      ...{ meta, storage, clock, log, clusterId, version: VERSION },
      dir: join(config.dataDir, 'tmp'),
      storeUrl: config.store,
      ...(secrets.s3 ? { s3: secrets.s3 } : {}),
    });
    const server = stack.use(
      await openGrpcServer(
        [
          service<PfsServer>(PfsService, {
            ...joiningPfs(
              pfsHandlers({ versioning, checkStored: (o, inner) => checkStored(thread, o, inner) }),
              transactions,
            ),
            ...files,
          }),
          service(TuskFilesService, tuskFilesHandlers({ ...fileDeps, uploads })),
          service(ObjectAPIService, objectHandlers(new StoredObjects({ meta, storage }))),
          service(
            PpsService,
            joiningPps(
              ppsHandlers({
                pipelines,
                scheduling,
                collector,
                secrets: secretStore,
                recent,
                clock,
              }),
              transactions,
            ),
          ),
          service(
            ClusterService,
            clusterHandlers({
              ...{ scheduler: scheduling, clusterId, version: VERSION, parts },
              workerSecrets: handOutSecrets({
                ...{ meta, secrets: secretStore, scheduling },
                loadSpec: pipelines.loadSpec,
              }),
            }),
          ),
          service(JobsService, tuskJobsHandlers({ pipelines, scheduling })),
          service(StorageService, storageHandlers({ collector, clock })),
          service(VersionService, versionHandlers),
          service(HealthService, healthHandlers),
          service(EnterpriseService, enterpriseHandlers),
          service(AdminService, adminHandlers({ clusterId, pipelines })),
          service(AuthService, authHandlers),
          service(TransactionService, transactionHandlers(transactions)),
          service(DebugService, {}),
          service(BackupService, backupHandlers(admin)),
        ],
        { listen: config.listen, log, clock, epochs },
      ),
    );
    const webhook = webhookApi({
      ...{ meta, storage, versioning, loadSpec: pipelines.loadSpec },
      webhookSecret: secrets.webhook,
    });
    const gateways = stack.use(
      await openGateways({ meta, storage, versioning, clock, log, webhook }, config),
    );
    const { s3Port, httpPort, webhookPort } = gateways;
    announce(config, { port: server.port, s3Port, httpPort, webhookPort });
    const owned = stack.move();
    return {
      port: server.port,
      s3Port,
      httpPort,
      [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
    };
  } catch (error) {
    await stack[Symbol.asyncDispose]().catch((closing: unknown) => {
      log.warn({ err: closing }, 'closing after a failed start failed too');
    });
    throw error;
  }
}

/** The id of this installation; made on first start. */
async function identity(meta: Meta, wait: Wait): Promise<string> {
  return meta.transact(
    async (t) => {
      const known = await t.getJson<{ id: string }>('cluster');
      const clusterId = known?.id ?? newUuid();
      if (!known) t.putJson('cluster', { id: clusterId });
      return clusterId;
    },
    { ...wait, label: 'identity' },
  );
}

/** The same after a restart, so that a restarted coordinator takes its pipelines back at once. */
function replicaName(config: CoordinatorConfig): string {
  return sha256Hex(`${hostname()}\0${config.dataDir}\0${config.listen}`).slice(0, 16);
}

function workerConfig(
  clusterId: string,
  config: CoordinatorConfig,
  secrets: CoordinatorSecrets,
): WorkerConfig {
  return {
    clusterId,
    natsUrl: config.natsForWorkers,
    storeUrl: config.store,
    s3AccessKey: secrets.s3?.accessKeyId ?? '',
    s3SecretKey: secrets.s3?.secretAccessKey ?? '',
    leaseMs: WORKER_LEASE_MS,
  };
}

/** Tells whoever started us where we serve; complete or absent, never half written. */
function announce(
  config: CoordinatorConfig,
  ports: {
    readonly port: number;
    readonly s3Port?: number;
    readonly httpPort?: number;
    readonly webhookPort?: number;
  },
): void {
  if (config.readyFile === undefined) return;
  const host = config.listen.slice(0, config.listen.lastIndexOf(':'));
  const partial = `${config.readyFile}.${process.pid}`;
  writeFileSync(partial, `${JSON.stringify({ host, ...ports, pid: process.pid })}\n`);
  renameSync(partial, config.readyFile);
}
