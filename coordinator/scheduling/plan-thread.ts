/** Entry point of the thread that plans jobs; plan-pool.ts talks to it. */
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../core/clock.js';
import { invariant } from '../../core/errors.js';
import { silentLog } from '../../core/log.js';
import { packError } from '../../core/packed-error.js';
import { decodeNode, openStorage, ToldEpoch, type Storage } from '../../storage/index.js';
import type { DirNode, Wait } from '../../storage/types.js';
import { plansOfJob } from './plan-beside.js';
import type { PlanReply, PlanRequest, PlanThreadSetup } from './plan-pool.js';
import { sortedManifestMaps } from './sorted-maps.js';
import { RootSource } from './source.js';

type Request = Extract<PlanRequest, { kind: 'plan' }>;

/** Pages are read once here. */
const CACHE_BYTES = 16 * 1024 * 1024;

const port = parentPort;
invariant(port, 'this program runs as a thread only');
const setup = workerData as PlanThreadSetup;
const running = new Map<number, AbortController>();
const epochs = new ToldEpoch(0);
let storage: Promise<Storage> | undefined;

port.on('message', (request: PlanRequest) => {
  if (request.kind === 'abort') running.get(request.id)?.abort();
  else void serve(request);
});

async function serve(request: Request): Promise<void> {
  const control = new AbortController();
  running.set(request.id, control);
  let last: PlanReply = { id: request.id };
  try {
    await plan(request, { signal: control.signal });
  } catch (error) {
    last = { id: request.id, error: packError(error) };
  }
  running.delete(request.id);
  port?.postMessage(last);
}

async function plan(request: Request, wait: Wait): Promise<void> {
  const opened = await storageOf(request.epoch);
  const roots = request.roots.map(({ root, ...name }) => ({
    ...name,
    root: root && (decodeNode(Buffer.from(root)) as DirNode),
  }));
  const source = new RootSource(opened.trees, roots);
  const deps = { storage: opened, maps: sortedManifestMaps(opened) };
  for await (const made of plansOfJob(deps, { ...request.input, source }, wait, request.before)) {
    const { ref, plan, how } = made;
    const reply: PlanReply = { id: request.id, made: { ref, plan, how } };
    port?.postMessage(reply);
  }
}

/** One connection for every plan; what is written from now on belongs to the newest epoch told. */
async function storageOf(epoch: number): Promise<Storage> {
  epochs.tell(epoch);
  const options = { ...setup, epoch: epochs, cacheBytes: CACHE_BYTES };
  storage ??= openStorage({ ...options, log: silentLog, clock: systemClock });
  // A store that could not be opened may be there the next time.
  storage.catch(() => (storage = undefined));
  return storage;
}
