/** A key-value store with the semantics of etcd that Tusk relies on, in memory, one step per call. */
import type { EtcdClient, RangeRequest } from '../../../coordinator/meta/etcd-client.js';
import {
  compareKeys,
  prefixEnd,
  type Compare,
  type KV,
  type Op,
  type RangeResult,
  type TxnResult,
} from '../../../coordinator/meta/kv.js';
import { AppError } from '../../../core/errors.js';
import type { Process, Scheduler } from './scheduler.js';

interface Version {
  readonly mod: number;
  /** undefined: deleted. */
  readonly kv: KV | undefined;
}

export interface Event {
  readonly revision: number;
  readonly puts: readonly KV[];
  readonly deleted: readonly string[];
}

export class ModelEtcd {
  readonly #keys = new Map<string, Version[]>();
  readonly log: Event[] = [];
  readonly listeners = new Set<(event: Event) => void>();
  readonly leases = new Set<string>();
  /** Those that stand for a process being there. */
  readonly sessions = new Set<string>();
  #leases = 0;
  revision = 1;

  grant(): string {
    this.#leases += 1;
    const id = String(this.#leases);
    this.leases.add(id);
    return id;
  }

  /** The lease is over, and the keys under it are gone. */
  expire(lease: string): void {
    if (!this.leases.delete(lease)) return;
    const gone = this.all().filter((kv) => kv.lease === lease);
    if (gone.length > 0) this.#write(gone.map((kv) => ({ delete: kv.key })));
  }

  /** Everything there is. */
  all(): KV[] {
    return this.range({ from: '', to: '\0' }).kvs;
  }

  range(request: RangeRequest): RangeResult {
    const { from, to } = request;
    const at = request.revision ?? this.revision;
    const inside = (key: string): boolean =>
      to === undefined
        ? key === from
        : compareKeys(key, from) >= 0 && (to === '\0' || compareKeys(key, to) < 0);
    const found: KV[] = [];
    for (const [key, versions] of this.#keys) {
      if (!inside(key)) continue;
      const kv = versions.findLast(({ mod }) => mod <= at)?.kv;
      if (kv) found.push(kv);
    }
    found.sort((a, b) => compareKeys(a.key, b.key));
    if (request.reverse) found.reverse();
    const kvs = found.slice(0, request.limit ?? found.length);
    return { kvs, revision: at, more: kvs.length < found.length };
  }

  txn(compare: readonly Compare[], success: readonly Op[], failure: readonly Op[]): TxnResult {
    const succeeded = compare.every((each) => this.#holds(each));
    const ops = succeeded ? success : failure;
    for (const op of ops) {
      if ('put' in op && op.lease !== undefined && !this.leases.has(op.lease)) {
        throw new AppError('STATE_CONFLICT', 'the lease is gone', { fields: { lease: true } });
      }
    }
    const responses = ops.map((op) => {
      if ('get' in op) return this.range({ from: op.get }).kvs;
      if ('range' in op) return this.range({ from: op.range, to: prefixEnd(op.range) }).kvs;
      return [];
    });
    const writes = ops.filter((op) => 'put' in op || 'delete' in op || 'deleteRange' in op);
    if (writes.length > 0) this.#write(writes);
    return { succeeded, revision: this.revision, responses };
  }

  #holds(compare: Compare): boolean {
    if ('prefix' in compare) {
      const { kvs } = this.range({ from: compare.prefix, to: prefixEnd(compare.prefix) });
      return kvs.every((kv) => kv.modRevision <= compare.notModifiedAfter);
    }
    const [kv] = this.range({ from: compare.key }).kvs;
    if ('modRevision' in compare) return (kv?.modRevision ?? 0) === compare.modRevision;
    if ('createRevision' in compare) return (kv?.createRevision ?? 0) === compare.createRevision;
    if ('exists' in compare) return (kv !== undefined) === compare.exists;
    if ('lease' in compare) return kv?.lease === compare.lease;
    return kv?.value.equals(Buffer.from(compare.value)) ?? false;
  }

  #write(ops: readonly Op[]): void {
    this.revision += 1;
    const mod = this.revision;
    const puts: KV[] = [];
    const deleted: string[] = [];
    for (const op of ops) {
      if ('put' in op) {
        const [before] = this.range({ from: op.put }).kvs;
        const kv: KV = {
          key: op.put,
          value: Buffer.from(op.value),
          createRevision: before?.createRevision ?? mod,
          modRevision: mod,
          ...(op.lease === undefined ? {} : { lease: op.lease }),
        };
        this.#add(op.put, { mod, kv });
        puts.push(kv);
      } else {
        const range = 'delete' in op ? { from: op.delete } : 'deleteRange' in op ? op : undefined;
        if (!range) continue;
        const request =
          'from' in range ? range : { from: range.deleteRange[0], to: range.deleteRange[1] };
        for (const { key } of this.range(request).kvs) {
          this.#add(key, { mod, kv: undefined });
          deleted.push(key);
        }
      }
    }
    const event = { revision: mod, puts, deleted };
    this.log.push(event);
    for (const listener of [...this.listeners]) listener(event);
  }

  #add(key: string, version: Version): void {
    const versions = this.#keys.get(key);
    if (versions) versions.push(version);
    else this.#keys.set(key, [version]);
  }
}

/** How one process reaches it: requests and answers each take a turn. */
export function clientOf(etcd: ModelEtcd, scheduler: Scheduler, process: Process): EtcdClient {
  const call = async <T>(work: () => T): Promise<T> => {
    await scheduler.turn(process);
    const answer = work();
    await scheduler.turn(process);
    return answer;
  };
  return {
    range: (request: RangeRequest) => call(() => etcd.range(request)),
    txn: (request: { compare: Compare[]; success: Op[]; failure: Op[] }) =>
      call(() => etcd.txn(request.compare, request.success, request.failure)),
    readAll: (ops: readonly { get: string }[], o: { revision?: number }) =>
      call(() => {
        const revision = o.revision ?? etcd.revision;
        const responses = ops.map((op) => etcd.range({ from: op.get, revision }).kvs);
        return { succeeded: true, revision, responses };
      }),
    grant: () => call(() => etcd.grant()),
    revoke: (lease: string) => call(() => etcd.expire(lease)),
  } as unknown as EtcdClient;
}
