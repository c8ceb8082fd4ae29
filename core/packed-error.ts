/** Errors on their way between threads: a structured clone would drop code and fields. */
import { AppError, codeOf, messageOf, type ErrorCode, type ErrorFields } from './errors.js';

/** What of an error travels; its cause and its stack stay behind. */
export interface PackedError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly fields: ErrorFields;
}

/** Anything that was thrown, for a message to another thread. */
export function packError(error: unknown): PackedError {
  const fields = error instanceof AppError ? error.fields : {};
  return { code: codeOf(error), message: messageOf(error), fields };
}

/** The error that was packed, as its receiver throws it. */
export function unpackError({ code, message, fields }: PackedError): AppError {
  return new AppError(code, message, { fields });
}
