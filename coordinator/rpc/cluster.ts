/** The service tusk.Cluster: workers join, tools ask how the parts are. */
import type {
  ClusterServer,
  WorkerConfig,
  WorkerHello,
  WorkerStatus,
} from '../../proto/generated/tusk.js';
import type { CoordinatorConfig, CoordinatorSecrets } from '../config.js';
import type { Scheduler, WorkerRecord } from '../scheduling/index.js';
import type { Handlers } from './handler.js';
import { API_VERSION } from './misc.js';

export interface ClusterDeps {
  readonly clusterId: string;
  readonly config: CoordinatorConfig;
  readonly secrets: CoordinatorSecrets;
  readonly scheduling: Pick<Scheduler, 'join' | 'joined' | 'workers' | 'parts'>;
}

/** A worker that is silent for this long is taken to be gone. */
const WORKER_LEASE_MS = 15_000;

export function clusterHandlers(deps: ClusterDeps): Handlers<ClusterServer> {
  const { scheduling } = deps;
  const config = workerConfig(deps);
  const { major, minor, micro } = API_VERSION;
  return {
    join: (requests, { signal }) => scheduling.join(requests, { signal, config }),
    status: async (_request, { signal }) => ({
      clusterId: deps.clusterId,
      version: `${major}.${minor}.${micro}`,
      parts: await scheduling.parts({ signal }),
      workers: workerStatuses(scheduling),
    }),
  };
}

function workerConfig({ clusterId, config, secrets }: ClusterDeps): WorkerConfig {
  return {
    clusterId,
    natsUrl: config.natsForWorkers,
    storeUrl: config.store,
    s3AccessKey: secrets.s3?.accessKeyId ?? '',
    s3SecretKey: secrets.s3?.secretAccessKey ?? '',
    leaseMs: WORKER_LEASE_MS,
  };
}

/** Every worker of the cluster; heartbeats of those that joined here. */
function workerStatuses(scheduling: ClusterDeps['scheduling']): WorkerStatus[] {
  const here = new Map(scheduling.joined().map((joined) => [joined.hello.workerId, joined]));
  return scheduling.workers().map((worker) => ({
    hello: here.get(worker.worker)?.hello ?? helloOf(worker),
    heartbeat: here.get(worker.worker)?.heartbeat,
  }));
}

function helloOf(worker: WorkerRecord): WorkerHello {
  return {
    workerId: worker.worker,
    host: worker.host,
    slots: worker.slots,
    cpus: worker.cpus,
    memoryBytes: worker.memoryBytes,
    gpus: Array.from({ length: worker.gpus }, (_, index) => String(index)),
    labels: { ...worker.labels },
    isolation: worker.isolation,
    version: worker.version,
  };
}
