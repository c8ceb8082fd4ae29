/**
 * The one table between our error codes and gRPC statuses, both ways. Old clients match on the
 * text, new ones on the status; the exact code also travels in the trailer `tusk-code`, so that no
 * client of ours has to read messages.
 */
import { Metadata, status, type ServiceError, type StatusObject } from '@grpc/grpc-js';
import {
  AppError,
  codeOf,
  ERROR_CODES,
  excerpt,
  messageOf,
  type ErrorCode,
} from '../core/errors.js';

const TO_STATUS: Readonly<Record<ErrorCode, status>> = {
  INVALID_INPUT: status.INVALID_ARGUMENT,
  NOT_FOUND: status.NOT_FOUND,
  ALREADY_EXISTS: status.ALREADY_EXISTS,
  STATE_CONFLICT: status.FAILED_PRECONDITION,
  CONTENTION: status.ABORTED,
  OVERLOADED: status.RESOURCE_EXHAUSTED,
  NO_SPACE: status.RESOURCE_EXHAUSTED,
  UNAVAILABLE: status.UNAVAILABLE,
  UNIMPLEMENTED: status.UNIMPLEMENTED,
  UNAUTHENTICATED: status.UNAUTHENTICATED,
  PERMISSION_DENIED: status.PERMISSION_DENIED,
  CANCELLED: status.CANCELLED,
  DEADLINE: status.DEADLINE_EXCEEDED,
  CORRUPT_DATA: status.DATA_LOSS,
  INTERNAL: status.INTERNAL,
};

/** First code wins where several share a status. */
const FROM_STATUS = new Map<status, ErrorCode>();
for (const code of ERROR_CODES) {
  if (!FROM_STATUS.has(TO_STATUS[code])) FROM_STATUS.set(TO_STATUS[code], code);
}

/** Texts travel in HTTP/2 trailers, escaped: longer ones would break the call. */
const DETAILS_MAX = 8_000;

export const CODE_TRAILER = 'tusk-code';

/**
 * The status a client sees for an error. Bugs tell no detail, only the id to look up in the log.
 */
export function toStatus(error: unknown, requestId: string): Partial<StatusObject> {
  const code = codeOf(error);
  const metadata = new Metadata();
  metadata.set(CODE_TRAILER, code);
  const details =
    code === 'INTERNAL'
      ? `internal error; the coordinator's log has the details under request ${requestId}`
      : excerpt(messageOf(error), DETAILS_MAX);
  return { code: TO_STATUS[code], details, metadata };
}

/** An AppError for anything a grpc-js call failed with. */
export function fromStatus(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const service = error as Partial<ServiceError>;
  if (typeof service.code !== 'number') {
    return new AppError(codeOf(error), messageOf(error), { cause: error });
  }
  const told = service.metadata?.get(CODE_TRAILER)[0];
  const code = ERROR_CODES.find((known) => known === told) ?? FROM_STATUS.get(service.code);
  return new AppError(code ?? 'INTERNAL', service.details ?? messageOf(error), { cause: error });
}
