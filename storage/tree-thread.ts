/** Entry point of the thread that makes trees; storage/tree-pool.ts talks to it. */
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../core/clock.js';
import { invariant } from '../core/errors.js';
import { silentLog } from '../core/log.js';
import { packError } from '../core/packed-error.js';
import { openStorage, ToldEpoch, type Storage } from './index.js';
import { decodeNode, encodeNode } from './node-format.js';
import { runFromText } from './run.js';
import type { ThreadReply, ThreadRequest, ThreadSetup } from './tree-pool.js';
import type { DirNode } from './types.js';

type ApplyRequest = Extract<ThreadRequest, { kind: 'apply' }>;

const port = parentPort;
invariant(port, 'this program runs as a thread only');
const setup = workerData as ThreadSetup;
const running = new Map<number, AbortController>();
const epochs = new ToldEpoch(0);
let storage: Promise<Storage> | undefined;

port.on('message', (request: ThreadRequest) => {
  if (request.kind === 'abort') running.get(request.id)?.abort();
  else void serve(request);
});

async function serve(request: ApplyRequest): Promise<void> {
  const control = new AbortController();
  running.set(request.id, control);
  let reply: ThreadReply;
  try {
    const root = await apply(request, control.signal);
    reply = { id: request.id, root: encodeNode(root) };
  } catch (error) {
    reply = { id: request.id, error: packError(error) };
  }
  running.delete(request.id);
  port?.postMessage(reply);
}

async function apply(request: ApplyRequest, signal: AbortSignal): Promise<DirNode> {
  epochs.tell(request.epoch);
  storage ??= openStorage({ ...setup, epoch: epochs, log: silentLog, clock: systemClock });
  // A store that could not be opened may be there the next time.
  storage.catch(() => (storage = undefined));
  const { trees } = await storage;
  const base = request.base && (decodeNode(Buffer.from(request.base)) as DirNode);
  const runs = request.runs.map(({ run, select, subtract }) => ({
    run: runFromText(run),
    ...(select && { select }),
    ...(subtract && { subtract }),
  }));
  return trees.apply(base, runs, { ...request.options, signal });
}
