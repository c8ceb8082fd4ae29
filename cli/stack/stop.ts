/** Stops processes a stack left behind, or a whole stack from outside. */
import type { Clock } from '../../core/clock.js';
import { NEVER } from '../../core/signals.js';
import { isAlive, readStack, removeStack, type PartRecord } from './stack-file.js';

const GRACE_MS = 15_000;
const POLL_MS = 50;
/** Workers let go of their tasks before the coordinator goes, the databases go last. */
const ORDER = ['worker', 'coordinator', 'nats', 'etcd'];

/** Ends the parts of a stack whose supervisor is gone. Returns how many there were. */
export async function stopLeftovers(
  dataDir: string,
  clock: Clock,
  report: (line: string) => void,
): Promise<number> {
  const record = readStack(dataDir);
  if (!record) return 0;
  const alive = record.parts.filter(isAlive);
  alive.sort((a, b) => ORDER.indexOf(a.name) - ORDER.indexOf(b.name));
  for (const part of alive) {
    report(`  stopping ${part.name} (pid ${part.pid}), left over from a stack that was killed`);
    await stopProcess(part, clock, GRACE_MS);
  }
  removeStack(dataDir);
  return alive.length;
}

/** SIGTERM, then SIGKILL after the grace period; returns when the process is gone. */
export async function stopProcess(
  part: Pick<PartRecord, 'pid' | 'birth'>,
  clock: Clock,
  graceMs: number,
): Promise<void> {
  if (!isAlive(part)) return;
  process.kill(part.pid, 'SIGTERM');
  const from = clock.monotonicMs();
  let killed = false;
  while (isAlive(part)) {
    if (!killed && clock.monotonicMs() - from > graceMs) {
      process.kill(part.pid, 'SIGKILL');
      killed = true;
    }
    await clock.sleep(POLL_MS, { signal: NEVER });
  }
}
