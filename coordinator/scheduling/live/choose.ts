/** Which worker runs a service or spout. */
import { createHash } from 'node:crypto';
import type { LivePorts } from '../../../queue/messages.js';
import type { WorkerRecord } from '../model.js';
import type { LiveRecord } from './model.js';

export interface Wanted {
  readonly pipeline: string;
  readonly ports?: LivePorts | undefined;
  /** Labels that the worker has to have. */
  readonly labels: Readonly<Record<string, string>>;
  /** The worker that has it now: kept while it fits. */
  readonly current?: string | undefined;
}

/**
 * The worker with the fewest such processes whose host has the ports free; the same answer for the
 * same question. A text instead says why there is none.
 */
export function chooseWorker(
  wanted: Wanted,
  workers: readonly WorkerRecord[],
  placed: readonly LiveRecord[],
): WorkerRecord | string {
  const others = placed.filter((record) => record.pipeline !== wanted.pipeline);
  const reasons = new Set<string>();
  const fit = workers.filter((worker) => {
    const reason = whyNot(wanted, worker, others);
    if (reason !== undefined) reasons.add(reason);
    return reason === undefined;
  });
  if (fit.length === 0) {
    if (reasons.size === 0) return 'no worker has joined: start one with `tusk worker --join`';
    return `no worker can run it: ${[...reasons].slice(0, 3).join('; ')}`;
  }
  const current = fit.find(({ worker }) => worker === wanted.current);
  if (current) return current;
  const load = (worker: WorkerRecord): number =>
    others.filter((record) => record.worker === worker.worker).length / Math.max(1, worker.slots);
  const rank = (worker: WorkerRecord): string =>
    createHash('sha256').update(`${worker.worker}\0${wanted.pipeline}`).digest('hex');
  const best = [...fit].sort((a, b) => load(a) - load(b) || (rank(a) < rank(b) ? -1 : 1))[0];
  return best ?? 'no worker has joined';
}

function whyNot(
  { ports, labels }: Wanted,
  worker: WorkerRecord,
  others: readonly LiveRecord[],
): string | undefined {
  const { host } = worker;
  if (worker.draining) return `worker ${worker.worker} is leaving`;
  if (worker.isolation === 'plain') {
    return `host ${host} has no namespaces for user code (install bubblewrap there)`;
  }
  const missing = Object.entries(labels).find(([name, value]) => worker.labels[name] !== value);
  if (missing) return `host ${host} is not labelled ${missing[0]}=${missing[1]}`;
  const mine = portsOf(ports);
  const clash = others.find(
    (record) => record.host === host && portsOf(record.ports).some((port) => mine.includes(port)),
  );
  if (!clash) return undefined;
  const port = portsOf(clash.ports).find((one) => mine.includes(one));
  return `port ${port} of host ${host} belongs to pipeline ${clash.pipeline}`;
}

function portsOf(ports: LivePorts | undefined): number[] {
  if (!ports) return [];
  return [ports.internal, ports.external ?? 0].filter((port) => port > 0);
}
