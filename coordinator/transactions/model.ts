/**
 * Transactions as they lie in etcd: a small record, and one key per recorded request, so that
 * adding to a long transaction writes only what is new. Shapes are a format (docs/formats/etcd.md).
 */
import type { CommitName } from '../versioning/index.js';

/** `tx/<id>`: rewritten with every request, so its revision tells whether any was added. */
export interface TransactionRecord {
  readonly id: string;
  /** Wall time in milliseconds. */
  readonly started: number;
  /** Number of `txr/` keys. */
  readonly requests: number;
}

/** `txr/<id>/<index>` */
export interface RequestRecord {
  /** base64 of the encoded transaction.TransactionRequest. */
  readonly request: string;
  /** The commit that the request starts: its id is fixed from the moment it is recorded. */
  readonly commit?: CommitName;
}

export const TRANSACTIONS = 'tx/';
export const REQUESTS = 'txr/';
export const transactionKey = (id: string): string => `${TRANSACTIONS}${id}`;
export const requestsOf = (id: string): string => `${REQUESTS}${id}/`;
/** Padded, so that keys sort by index. */
export const requestKey = (id: string, index: number): string =>
  `${requestsOf(id)}${String(index).padStart(6, '0')}`;
