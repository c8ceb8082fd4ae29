/** Whether the servers a coordinator stands on are well, for `tusk status`. */
import type { PartStatus } from '../proto/generated/tusk.js';
import { messageOf } from '../core/errors.js';
import type { Queue } from '../queue/index.js';
import type { Storage } from '../storage/index.js';
import type { Wait } from '../storage/types.js';
import type { CoordinatorConfig } from './config.js';
import type { Meta } from './meta/index.js';

/** Longest wait for one part before it counts as not answering. */
const CHECK_MS = 3_000;

export interface PartDeps {
  readonly meta: Meta;
  readonly storage: Storage;
  readonly queue: Queue;
  readonly config: CoordinatorConfig;
}

/** A function that asks each part something small and tells which of them answer. */
export function partChecks(deps: PartDeps): (wait: Wait) => Promise<PartStatus[]> {
  const { meta, storage, queue, config } = deps;
  return async ({ signal }) => {
    const check = async (
      name: string,
      address: string,
      ask: (wait: Wait) => Promise<unknown>,
    ): Promise<PartStatus> => {
      try {
        await ask({ signal: AbortSignal.any([signal, AbortSignal.timeout(CHECK_MS)]) });
        return { name, ok: true, reason: '', address };
      } catch (error) {
        return { name, ok: false, reason: messageOf(error), address };
      }
    };
    return Promise.all([
      check('etcd', config.etcd.join(','), (wait) => meta.get('cluster', wait)),
      check('nats', config.nats, (wait) => queue.ensureStreams(wait)),
      check('store', config.store, (wait) => storage.objects.head('blob/0/none', wait)),
      check('coordinator', config.listen, async () => undefined),
    ]);
  };
}
