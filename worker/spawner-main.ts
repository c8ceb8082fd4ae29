/** Entry point of the spawner process; forked by the worker before anything else. */
import { systemClock } from '../core/clock.js';
import { NEVER } from '../core/signals.js';
import { Spawner } from './spawner.js';
import type { FromSpawner, ToSpawner } from './spawner-protocol.js';

// A full pipe answers EAGAIN by exception, once per run: without stacks that costs nothing.
Error.stackTraceLimit = 0;

/** A worker that ended at once is not there to be told. */
function tell(message: FromSpawner): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

const spawner = new Spawner({
  clock: systemClock,
  root: process.getuid?.() === 0,
  send: tell,
});
const leave = (): void => {
  spawner.close();
  process.exit(0);
};
process.on('message', (message) => {
  const known = message as ToSpawner;
  spawner.handle(known);
  if (known.kind === 'close') leave();
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
