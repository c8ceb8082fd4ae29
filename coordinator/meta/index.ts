/** The metadata store on etcd; the only place that speaks to it. */
export { Meta, openMeta, type MetaOptions } from './meta.js';
export { Informer, type Change } from './informer.js';
export { Lease } from './lease.js';
export { MetaTxn, type PutOptions } from './meta-txn.js';
export type { RangeOptions } from './reader.js';
export type { ChangeBatch } from './changes.js';
export type { ProcessFence, TransactOptions } from './transact.js';
export type { Compare, KV, Op, RangeResult, TxnResult } from './kv.js';
