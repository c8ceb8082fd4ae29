/** The history of keys as it is made: every value that was put, none left out, in order. */
import { abortable } from '../../core/signals.js';
import { unavailable } from '../../core/errors.js';
import type { IWatchResponse } from 'etcd3';
import type { EtcdClient } from './etcd-client.js';
import type { KV } from './kv.js';

interface Wait {
  readonly signal: AbortSignal;
}

export interface ChangeBatch {
  /** Everything up to this revision has been told with this batch. */
  readonly revision: number;
  readonly puts: readonly KV[];
}

/** Batches that may wait for the reader before the watch is given up. */
const BATCHES_MAX = 10_000;

export async function* followChanges(
  client: EtcdClient,
  prefix: string,
  o: Wait & { readonly from: number },
): AsyncGenerator<ChangeBatch> {
  const stream = await client.watch(prefix, o.from);
  const batches: ChangeBatch[] = [];
  let failed: Error | undefined;
  let wake: () => void = () => undefined;
  const fail = (error: unknown): void => {
    failed ??= error as Error;
    wake();
  };
  stream.on('error', (error) => fail(client.translate(error)));
  stream.on('end', () => fail(unavailable('etcd ended the watch')));
  stream.on('data', (response: IWatchResponse) => {
    if (response.canceled) {
      const why = response.cancel_reason || `compacted at ${response.compact_revision}`;
      return fail(unavailable(`etcd cancelled the watch: ${why}`));
    }
    if (response.events.length === 0) return;
    const puts: KV[] = [];
    let revision = 0;
    for (const event of response.events) {
      const kv = client.keys.decode(event.kv);
      revision = Math.max(revision, kv.modRevision);
      if (event.type === 'Put') puts.push(kv);
    }
    batches.push({ revision, puts });
    if (batches.length > BATCHES_MAX) fail(unavailable('changes came faster than they were read'));
    wake();
  });
  try {
    for (;;) {
      const batch = batches.shift();
      if (batch) yield batch;
      else if (failed) throw failed;
      else {
        const more = new Promise<void>((resolve) => (wake = resolve));
        await abortable(more, o.signal);
      }
    }
  } finally {
    stream.cancel();
  }
}
