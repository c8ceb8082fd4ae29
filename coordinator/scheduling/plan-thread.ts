/** Entry point of the thread that plans jobs; plan-pool.ts talks to it. */
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../core/clock.js';
import { AppError, codeOf, invariant, messageOf } from '../../core/errors.js';
import { silentLog } from '../../core/log.js';
import { decodeNode, openStorage, type Storage } from '../../storage/index.js';
import type { DirNode, Wait } from '../../storage/types.js';
import { makePlans } from './plan.js';
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
let storage: { readonly epoch: number; readonly opened: Promise<Storage> } | undefined;

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
    const fields = error instanceof AppError ? error.fields : {};
    last = { id: request.id, error: { code: codeOf(error), message: messageOf(error), fields } };
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
  for await (const made of makePlans(deps, { ...request.input, source }, wait, request.before)) {
    const { ref, plan, how } = made;
    const reply: PlanReply = { id: request.id, made: { ref, plan, how } };
    port?.postMessage(reply);
  }
}

async function storageOf(epoch: number): Promise<Storage> {
  if (storage?.epoch !== epoch) {
    const options = { ...setup, epoch, cacheBytes: CACHE_BYTES };
    storage = { epoch, opened: openStorage({ ...options, log: silentLog, clock: systemClock }) };
  }
  const { opened } = storage;
  // A store that could not be opened may be there the next time.
  opened.catch(() => (storage = undefined));
  return opened;
}
