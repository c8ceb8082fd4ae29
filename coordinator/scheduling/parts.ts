/** Looks at the servers that everything stands on; each look is short and never throws. */
import { messageOf } from '../../core/errors.js';
import type { PartStatus } from '../../proto/generated/tusk.js';
import type { Wait } from '../../storage/types.js';
import type { SchedulingDeps } from './deps.js';

const LOOK_MS = 3_000;

export async function lookAtParts(
  deps: Pick<SchedulingDeps, 'meta' | 'queue' | 'storage'>,
  wait: Wait,
): Promise<PartStatus[]> {
  const { meta, queue, storage } = deps;
  return Promise.all([
    look('etcd', '', wait, (inner) => meta.get('cluster', inner)),
    look('nats', '', wait, (inner) => queue.ensureStreams(inner)),
    look('store', storage.objects.place, wait, (inner) => storage.objects.head('health', inner)),
  ]);
}

async function look(
  name: string,
  address: string,
  wait: Wait,
  work: (wait: Wait) => Promise<unknown>,
): Promise<PartStatus> {
  try {
    await work({ signal: AbortSignal.any([wait.signal, AbortSignal.timeout(LOOK_MS)]) });
    return { name, ok: true, reason: '', address };
  } catch (error) {
    return { name, ok: false, reason: messageOf(error), address };
  }
}
