/**
 * The one error type that crosses folder borders.
 *
 * An AppError says what went wrong in words a person can act on, carries a code that decides how
 * callers react (and which gRPC status clients see, see proto/status.ts), and keeps the error that
 * caused it. Adapters translate foreign errors once, where they first see them.
 */

/** Every code an error can carry. docs/errors.md lists what each means to a user. */
export const ERROR_CODES = [
  'INVALID_INPUT',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'STATE_CONFLICT',
  'CONTENTION',
  'OVERLOADED',
  'UNAVAILABLE',
  'UNIMPLEMENTED',
  'UNAUTHENTICATED',
  'PERMISSION_DENIED',
  'CANCELLED',
  'DEADLINE',
  'CORRUPT_DATA',
  'NO_SPACE',
  'INTERNAL',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

export type ErrorFields = Readonly<Record<string, unknown>>;

/** An expected failure: an answer to the caller, or weather in a server we depend on. */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  readonly fields: ErrorFields;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; fields?: ErrorFields } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.fields = options.fields ?? {};
  }
}

const make =
  (code: ErrorCode) =>
  (message: string, options?: { cause?: unknown; fields?: ErrorFields }): AppError =>
    new AppError(code, message, options);

export const invalidInput = make('INVALID_INPUT');
export const notFound = make('NOT_FOUND');
export const alreadyExists = make('ALREADY_EXISTS');
export const stateConflict = make('STATE_CONFLICT');
export const contention = make('CONTENTION');
export const overloaded = make('OVERLOADED');
export const unavailable = make('UNAVAILABLE');
export const unimplemented = make('UNIMPLEMENTED');
export const cancelled = make('CANCELLED');
export const deadline = make('DEADLINE');
export const corruptData = make('CORRUPT_DATA');
export const noSpace = make('NO_SPACE');

/** A bug, not weather: never caught for control flow. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
  constructor(
    message: string,
    readonly fields: ErrorFields = {},
  ) {
    super(`${message} ${Object.keys(fields).length ? JSON.stringify(fields) : ''}`.trim());
  }
}

/** Throws InvariantError when a condition that must hold does not. */
export function invariant(
  condition: unknown,
  message: string,
  fields?: ErrorFields,
): asserts condition {
  if (!condition) throw new InvariantError(message, fields);
}

/**
 * The code of an error, found by walking its cause chain (at most 8 deep), so that adding context
 * never changes how callers react. Errors that carry no code are INTERNAL.
 */
export function codeOf(error: unknown): ErrorCode {
  let current: unknown = error;
  for (let depth = 0; depth < 8 && current !== undefined && current !== null; depth += 1) {
    if (current instanceof AppError) return current.code;
    if (current instanceof Error && current.name === 'AbortError') return 'CANCELLED';
    current = (current as { cause?: unknown }).cause;
  }
  return 'INTERNAL';
}

/** True for failures that may go away when the same step is tried again. */
export function isRetryable(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'UNAVAILABLE' || code === 'OVERLOADED' || code === 'CONTENTION';
}

/** Wraps an error with context in front (`context: cause`), keeping its code. */
export function wrap(context: string, error: unknown, fields?: ErrorFields): AppError {
  return new AppError(codeOf(error), `${context}: ${messageOf(error)}`, { cause: error, fields });
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The start of a text of any length, to name it in an error. */
export function excerpt(text: string, length = 200): string {
  return text.length <= length ? text : `${text.slice(0, length)}…`;
}
