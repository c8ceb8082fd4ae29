/**
 * Errors of the etcd client, translated once. Anything that leaves open whether a write happened
 * (connection lost, no answer in time) is UNAVAILABLE; `transact` finds out what became of it.
 */
import { AppError, messageOf, noSpace, overloaded, unavailable } from '../../core/errors.js';

/** Names of error classes of the client after which the request may or may not have run. */
const WEATHER = new Set([
  'GRPCUnavailableError',
  'GRPCInternalError',
  'GRPCCancelledError',
  'GRPCUnknownError',
  'GRPCAbortedError',
  'GRPCDeadlineExceededError',
  'GRPCDataLossError',
  'GRPCGenericError',
  'EtcdWatchStreamEnded',
]);

/** Turns an error of the etcd client into an AppError with what to do about it. */
export function fromEtcd(error: unknown, endpoints: string): unknown {
  if (error instanceof AppError || !(error instanceof Error)) return error;
  const text = messageOf(error).replace(/^\w+Error: /, '');
  const options = { cause: error };
  const name = error.constructor.name;
  if (name === 'GRPCDeadlineExceededError') {
    return unavailable(`etcd at ${endpoints} did not answer in time; is it running?`, options);
  }
  if (text.includes('space exceeded')) {
    const next = 'compact and defragment it, then "etcdctl alarm disarm"';
    return noSpace(`etcd at ${endpoints} is full (${text}): ${next}`, options);
  }
  if (text.includes('too many operations') || text.includes('request is too large')) {
    return new AppError(
      'INVALID_INPUT',
      `etcd refuses a change of this size (${text}); start it with --max-txn-ops 8192 ` +
        '--max-request-bytes 8388608',
      { cause: error, fields: { limit: true } },
    );
  }
  if (text.includes('has been compacted')) {
    return new AppError('CONTENTION', 'the metadata snapshot is too old; read again', {
      cause: error,
      fields: { compacted: true },
    });
  }
  if (name === 'EtcdLeaseInvalidError' || text.includes('lease not found')) {
    const fields = { lease: true };
    return new AppError('STATE_CONFLICT', `the lease is gone: ${text}`, { cause: error, fields });
  }
  if (name === 'GRPCResourceExhastedError') {
    return overloaded(`etcd at ${endpoints} is overloaded: ${text}`, options);
  }
  if (name === 'EtcdPermissionDeniedError' || name === 'GRPCUnauthenticatedError') {
    return new AppError(
      'PERMISSION_DENIED',
      `etcd at ${endpoints} refuses access: ${text}`,
      options,
    );
  }
  if (WEATHER.has(name)) {
    return unavailable(`cannot reach etcd at ${endpoints} (${text}); is it running?`, options);
  }
  return new AppError('INTERNAL', `etcd at ${endpoints}: ${text}`, options);
}

/** True when the request may have been carried out although it failed. */
export function outcomeUnknown(error: unknown): boolean {
  return error instanceof AppError && error.code === 'UNAVAILABLE';
}
