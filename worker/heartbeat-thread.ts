/**
 * Entry point of the thread that keeps the worker joined: CPU-bound work in the main thread cannot
 * lose the lease. It stops vouching for a main thread that is silent for a minute.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../core/clock.js';
import type { WorkerHeartbeat } from '../proto/generated/tusk.js';
import {
  STUCK_MS,
  type FromThread,
  type HeartbeatThreadData,
  type ToThread,
} from './heartbeat-protocol.js';
import { JoinClient } from './join.js';

const { addresses, hello } = workerData as HeartbeatThreadData;
const stop = new AbortController();
let heartbeat: WorkerHeartbeat = { busySlots: 0, running: [] };
let heardMs = systemClock.monotonicMs();

const send = (message: FromThread): void => parentPort?.postMessage(message);

const client = new JoinClient({
  addresses,
  hello,
  clock: systemClock,
  heartbeat: () => (systemClock.monotonicMs() - heardMs < STUCK_MS ? heartbeat : undefined),
  onConfig: (config) => send({ kind: 'config', config }),
  onAssignments: (assignments) => send({ kind: 'assignments', assignments }),
  onState: (state) => send({ kind: 'state', ...state }),
});

parentPort?.on('message', (message: ToThread) => {
  if (message.kind === 'state') {
    heardMs = systemClock.monotonicMs();
    heartbeat = { busySlots: message.running.length, running: [...message.running] };
  } else if (message.kind === 'drain') client.drain();
  else stop.abort(new Error('the worker ends'));
});

await client.run(stop.signal);
parentPort?.close();
