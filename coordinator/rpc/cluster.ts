/** The service tusk.Cluster: workers join, tools ask how the parts are. */
import type {
  ClusterServer,
  PartStatus,
  SecretValue,
  WorkerSecretsRequest,
} from '../../proto/generated/tusk.js';
import type { Scheduler } from '../scheduling/index.js';
import type { Wait } from '../../storage/types.js';
import type { Handlers } from './handler.js';

export interface ClusterDeps {
  readonly scheduler: Pick<Scheduler, 'join' | 'joined' | 'workers' | 'reportDuty' | 'commitSpout'>;
  readonly clusterId: string;
  readonly version: string;
  /** Looks at every part the coordinator stands on; must answer within seconds. */
  readonly parts: (wait: Wait) => Promise<PartStatus[]>;
  readonly workerSecrets: (request: WorkerSecretsRequest, wait: Wait) => Promise<SecretValue[]>;
}

export function clusterHandlers(deps: ClusterDeps): Handlers<ClusterServer> {
  return {
    join: (requests, { signal }) => deps.scheduler.join(requests, { signal }),
    workerSecrets: async (request, { signal }) => ({
      values: await deps.workerSecrets(request, { signal }),
    }),
    reportDuty: (report, { signal, peer }) =>
      deps.scheduler.reportDuty(report, hostOf(peer), { signal }),
    commitSpout: (write, { signal }) => deps.scheduler.commitSpout(write, { signal }),
    status: async (_request, { signal }) => {
      const beats = new Map(
        deps.scheduler.joined().map(({ hello, heartbeat }) => [hello.workerId, heartbeat]),
      );
      return {
        clusterId: deps.clusterId,
        version: deps.version,
        parts: await deps.parts({ signal }),
        workers: deps.scheduler.workers().map((worker) => ({
          hello: {
            workerId: worker.worker,
            host: worker.host,
            slots: worker.slots,
            cpus: worker.cpus,
            memoryBytes: worker.memoryBytes,
            gpus: Array.from({ length: worker.gpus }, (_, i) => String(i)),
            labels: { ...worker.labels },
            isolation: worker.isolation,
            version: worker.version,
            gpuShare: worker.gpuShare ?? 1,
            limits: worker.limits ?? '',
            engine: worker.engine ?? '',
            diskBytes: worker.diskBytes ?? 0,
          },
          heartbeat: beats.get(worker.worker),
        })),
      };
    },
  };
}

/** The host of a peer: `10.0.0.5:41234`, `[::1]:41234`, `::ffff:10.0.0.5:41234`. */
export function hostOf(peer: string): string {
  const host = peer.replace(/^ipv[46]:/, '').replace(/:\d+$/, '');
  return host.replace(/^\[(.*)\]$/, '$1').replace(/^::ffff:(?=\d+\.)/, '');
}
