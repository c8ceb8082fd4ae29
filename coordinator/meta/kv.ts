/** What the metadata store speaks: keys are text, values bytes, revisions numbers (below 2^53). */
import type { ICompare, IKeyValue, IRangeResponse, IRequestOp } from 'etcd3';

export interface KV {
  readonly key: string;
  readonly value: Buffer;
  readonly createRevision: number;
  readonly modRevision: number;
  /** Lease the key lives under; absent = none. */
  readonly lease?: string;
}

/** A condition of a transaction. `modRevision: 0` means the key is absent. */
export type Compare =
  | { readonly key: string; readonly modRevision: number }
  | { readonly key: string; readonly createRevision: number }
  | { readonly key: string; readonly exists: boolean }
  | { readonly key: string; readonly value: string | Buffer }
  | { readonly key: string; readonly lease: string }
  /** No key with this prefix was written after the revision (deletions do not show). */
  | { readonly prefix: string; readonly notModifiedAfter: number };

/** One step of a transaction. */
export type Op =
  | { readonly put: string; readonly value: string | Buffer; readonly lease?: string }
  | { readonly delete: string }
  /** Every key in `[from, to)`. */
  | { readonly deleteRange: readonly [from: string, to: string] }
  | { readonly get: string }
  | { readonly range: string; readonly limit?: number; readonly keysOnly?: boolean };

export interface TxnResult {
  readonly succeeded: boolean;
  /** Revision of the store when the transaction ran. */
  readonly revision: number;
  /** One per op of the list that ran; empty for puts and deletes. */
  readonly responses: readonly (readonly KV[])[];
}

export interface RangeResult {
  readonly kvs: KV[];
  /** Revision the answer is a snapshot of. */
  readonly revision: number;
  readonly more: boolean;
}

/** The smallest key after every key that begins with `prefix` (ASCII prefixes ending in any byte). */
export function prefixEnd(prefix: string): string {
  for (let i = prefix.length - 1; i >= 0; i -= 1) {
    const code = prefix.charCodeAt(i);
    if (code < 0x7f) return prefix.slice(0, i) + String.fromCharCode(code + 1);
  }
  return '\0';
}

/** Bytewise order of keys, as etcd sorts them (JS compares UTF-16 units). */
export function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** Puts the store's prefix before keys and takes it off again. */
export class KeySpace {
  readonly #cut: number;

  constructor(readonly prefix: string) {
    this.#cut = Buffer.byteLength(prefix);
  }

  /** The empty key stands before all others: with it a range begins at the first one. */
  encode(key: string): Buffer {
    const text = this.prefix + key;
    return text === '' ? Buffer.from([0]) : Buffer.from(text);
  }

  /** The end of a range: `'\0'` means the end of the key space. */
  encodeEnd(end: string): Buffer {
    if (end !== '\0') return this.encode(end);
    return this.prefix === '' ? Buffer.from([0]) : Buffer.from(prefixEnd(this.prefix));
  }

  decode(kv: IKeyValue): KV {
    return {
      key: kv.key.toString('utf8', this.#cut),
      value: kv.value,
      createRevision: Number(kv.create_revision),
      modRevision: Number(kv.mod_revision),
      ...(kv.lease === '0' ? {} : { lease: kv.lease }),
    };
  }

  decodeRange(response: IRangeResponse): RangeResult {
    return {
      kvs: response.kvs.map((kv) => this.decode(kv)),
      revision: Number(response.header.revision),
      more: response.more,
    };
  }

  encodeOp(op: Op): IRequestOp {
    if ('put' in op) {
      const value = typeof op.value === 'string' ? Buffer.from(op.value) : op.value;
      const lease = op.lease === undefined ? {} : { lease: op.lease };
      return { request_put: { key: this.encode(op.put), value, ...lease } };
    }
    if ('delete' in op) return { request_delete_range: { key: this.encode(op.delete) } };
    if ('deleteRange' in op) {
      const [from, to] = op.deleteRange;
      return { request_delete_range: { key: this.encode(from), range_end: this.encodeEnd(to) } };
    }
    if ('get' in op) return { request_range: { key: this.encode(op.get) } };
    return {
      request_range: {
        key: this.encode(op.range),
        range_end: this.encodeEnd(prefixEnd(op.range)),
        ...(op.limit === undefined ? {} : { limit: op.limit }),
        ...(op.keysOnly ? { keys_only: true } : {}),
      },
    };
  }

  encodeCompare(compare: Compare): ICompare {
    if ('prefix' in compare) {
      return {
        key: this.encode(compare.prefix),
        range_end: this.encodeEnd(prefixEnd(compare.prefix)),
        target: 'Mod',
        result: 'Less',
        mod_revision: compare.notModifiedAfter + 1,
      };
    }
    const key = this.encode(compare.key);
    if ('modRevision' in compare) {
      return { key, target: 'Mod', result: 'Equal', mod_revision: compare.modRevision };
    }
    if ('createRevision' in compare) {
      return { key, target: 'Create', result: 'Equal', create_revision: compare.createRevision };
    }
    if ('exists' in compare) {
      const result = compare.exists ? 'Greater' : 'Equal';
      return { key, target: 'Create', result, create_revision: 0 };
    }
    if ('lease' in compare) return { key, target: 'Lease', result: 'Equal', lease: compare.lease };
    const value = typeof compare.value === 'string' ? Buffer.from(compare.value) : compare.value;
    return { key, target: 'Value', result: 'Equal', value };
  }
}
