/**
 * The skip rule: which datums of a job were already run, under the same salt, by an earlier job.
 * Entries of the job (sorted by key) are joined with a manifest by merging two sorted streams, or
 * by single look-ups when only a few are still open. Twins have keys of their own, so equal datums
 * are matched as a multiset.
 */
import { setImmediate } from 'node:timers/promises';
import type { Wait } from '../../storage/types.js';
import { peekRecord } from './record.js';

/** A datum of the job that may be carried over. */
export interface Entry {
  readonly key: Buffer;
  /** 32 bytes. */
  readonly id: Buffer;
  /** Place in the enumeration. */
  readonly index: number;
  readonly twin: number;
}

export interface KeyValue {
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface JoinResult {
  /** Entries that the manifest does not answer, in key order. */
  readonly open: Entry[];
  /** The manifest's values for the others, in key order. */
  readonly carried: KeyValue[];
  /** Keys of the manifest that were not carried over, in key order. */
  readonly dropped: Buffer[];
}

/** Joins entries, sorted by key, with a whole manifest in key order. */
export async function joinSorted(
  entries: readonly Entry[],
  manifest: AsyncIterable<KeyValue>,
  wait: Wait,
): Promise<JoinResult> {
  const result: JoinResult = { open: [], carried: [], dropped: [] };
  let at = 0;
  let seen = 0;
  for await (const { key, value } of manifest) {
    for (; at < entries.length; at += 1) {
      const entry = entries[at] as Entry;
      if (Buffer.compare(entry.key, key) >= 0) break;
      result.open.push(entry);
    }
    const entry = entries[at];
    if (entry && entry.key.equals(key)) {
      at += 1;
      if (reusable(value, entry)) {
        result.carried.push({ key, value });
      } else {
        result.open.push(entry);
        result.dropped.push(key);
      }
    } else {
      result.dropped.push(key);
    }
    if ((++seen & 4095) === 0) {
      wait.signal.throwIfAborted();
      await setImmediate();
    }
  }
  for (; at < entries.length; at += 1) result.open.push(entries[at] as Entry);
  return result;
}

/** Looks each entry up; for few entries and a large manifest. */
export async function joinByLookup(
  entries: readonly Entry[],
  lookup: (key: Buffer, wait: Wait) => Promise<Buffer | undefined>,
  wait: Wait,
): Promise<Pick<JoinResult, 'open' | 'carried'>> {
  const result: Pick<JoinResult, 'open' | 'carried'> = { open: [], carried: [] };
  for (const entry of entries) {
    const value = await lookup(entry.key, wait);
    if (value && reusable(value, entry)) result.carried.push({ key: entry.key, value });
    else result.open.push(entry);
  }
  return result;
}

/** Recovered and failed datums are never carried over. */
function reusable(value: Buffer, entry: Entry): boolean {
  const record = peekRecord(value);
  return record.state === 'success' && record.id.equals(entry.id);
}
