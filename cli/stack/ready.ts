/** How to tell that a part of the stack answers. */
import { connect } from 'node:net';
import type { Clock } from '../../core/clock.js';
import type { Call } from '../grammar/command.js';
import { clusterStatus } from './cluster-status.js';

const POLL_MS = 50;

/** Asks again and again; a failing question counts as "not yet". */
export async function until(
  clock: Clock,
  signal: AbortSignal,
  answered: () => Promise<boolean>,
): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    if (await answered().catch(() => false)) return;
    await clock.sleep(POLL_MS, { signal });
  }
}

/** True when the NATS server at the port sends its INFO line. */
export async function natsGreets(host: string, port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, host);
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1000, () => done(false));
    socket.once('error', () => done(false));
    socket.once('data', (bytes) => done(bytes.toString('latin1').startsWith('INFO')));
  });
}

/** Waits until the coordinator lists a worker. */
export async function untilJoined(call: Call, address: string, signal: AbortSignal): Promise<void> {
  await until(call.session.clock, signal, async () => {
    const status = await clusterStatus(call, address);
    return status.workers.length > 0;
  });
}
