/** Entry point of the spawner process; forked by the worker before anything else. */
import { systemClock } from '../core/clock.js';
import { NEVER } from '../core/signals.js';
import { Outbox } from './outbox.js';
import { Spawner } from './spawner.js';
import type { FromSpawner, ToSpawner } from './spawner-protocol.js';

// A full pipe answers EAGAIN by exception, once per run: without stacks that costs nothing.
Error.stackTraceLimit = 0;

/** A worker that ended at once is not there to be told. */
const outbox = new Outbox<FromSpawner>((messages) => {
  if (process.connected) process.send?.(messages, undefined, undefined, () => undefined);
});
const tell = (message: FromSpawner): void => outbox.add(message);

const spawner = new Spawner({
  clock: systemClock,
  root: process.getuid?.() === 0,
  send: tell,
});
const leave = (): void => {
  spawner.close();
  process.exit(0);
};
process.on('message', (messages) => {
  for (const message of messages as ToSpawner[]) {
    spawner.handle(message);
    if (message.kind === 'close') leave();
  }
});
process.on('disconnect', leave);
// A signal for the whole group (Ctrl-C) is the worker's business: it drains, then disconnects.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
// A worker that ended while this program was loading said so to nobody.
if (!process.connected) leave();
tell({ kind: 'ready' });

for (;;) {
  await systemClock.sleep(spawner.tickMs, { signal: NEVER });
  spawner.tick();
}
