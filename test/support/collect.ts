/** Garbage collections of a stack, and what lies in its object store. */
import { CLIENT_OPTIONS, insecure } from '../../proto/channel.js';
import { CollectRequest, StorageClient, type CollectProgress } from '../../proto/generated/tusk.js';
import { silentLog } from '../../core/log.js';
import { systemClock } from '../../core/clock.js';
import { NEVER } from '../../core/signals.js';
import { openObjects, type ObjectStore } from '../../storage/index.js';
import type { Stack } from './stack.js';

export interface CollectOptions {
  readonly dryRun?: boolean;
  readonly onProgress?: (progress: CollectProgress) => void;
}

/** Runs a collection to its end; its last message. */
export async function collect(address: string, o: CollectOptions = {}): Promise<CollectProgress> {
  const client = new StorageClient(address, insecure(), CLIENT_OPTIONS);
  try {
    let last: CollectProgress | undefined;
    const request = CollectRequest.fromPartial({ dryRun: o.dryRun ?? false });
    for await (const progress of client.collect(request)) {
      last = progress as CollectProgress;
      o.onProgress?.(last);
    }
    if (!last?.done) throw new Error('the collection ended without a result');
    return last;
  } finally {
    client.close();
  }
}

/** The stack's store, opened beside it. */
export async function openStackObjects({ s3, dir }: Stack): Promise<ObjectStore> {
  const clock = systemClock;
  const keys = s3 && { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey };
  return openObjects({
    ...{ url: s3?.storeUrl ?? `dir://${dir}/store`, epoch: 0, log: silentLog, clock },
    ...(keys ? { s3: keys } : {}),
  });
}

/** Key → size of every stored object. */
export async function stored(objects: ObjectStore): Promise<Map<string, number>> {
  const sizes = new Map<string, number>();
  for (const kind of ['blob', 'c', 'p', 'page', 'run']) {
    for await (const { key, size } of objects.list(`${kind}/`, { signal: NEVER })) {
      sizes.set(key, size);
    }
  }
  return sizes;
}

export function bytesOf(sizes: ReadonlyMap<string, number>): number {
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}
