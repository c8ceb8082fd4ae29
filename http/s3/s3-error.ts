/** Errors in the words of S3, and the one table from ours to theirs. */
import { codeOf, messageOf, type ErrorCode } from '../../core/errors.js';

/** An answer that S3 clients understand. */
export class S3Error extends Error {
  override readonly name = 'S3Error';
  /** Elements that some errors carry beside the usual ones. */
  readonly details: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    readonly code: string,
    readonly status: number,
    message: string,
    more: {
      details?: Readonly<Record<string, string>>;
      headers?: Readonly<Record<string, string>>;
      cause?: unknown;
    } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.details = more.details ?? {};
    this.headers = more.headers ?? {};
  }
}

export const noSuchBucket = (bucket: string): S3Error =>
  new S3Error('NoSuchBucket', 404, 'The specified bucket does not exist', {
    details: { BucketName: bucket },
  });

export const noSuchKey = (key: string): S3Error =>
  new S3Error('NoSuchKey', 404, 'The specified key does not exist.', { details: { Key: key } });

export const noSuchVersion = (key: string, version: string): S3Error =>
  new S3Error(
    'NoSuchVersion',
    404,
    'The version ID specified in the request does not match an existing version.',
    { details: { Key: key, VersionId: version } },
  );

export const noSuchUpload = (upload: string): S3Error =>
  new S3Error(
    'NoSuchUpload',
    404,
    'The specified multipart upload does not exist. The upload ID might be invalid, or the upload might have been aborted or completed.',
    { details: { UploadId: upload } },
  );

export const invalidBucketName = (bucket: string, why: string): S3Error =>
  new S3Error('InvalidBucketName', 400, `The specified bucket is not valid: ${why}`, {
    details: { BucketName: bucket },
  });

export const invalidArgument = (name: string, value: string, why: string): S3Error =>
  new S3Error('InvalidArgument', 400, why, {
    details: { ArgumentName: name, ArgumentValue: value },
  });

export const invalidRequest = (why: string): S3Error => new S3Error('InvalidRequest', 400, why);

export const malformedXml = (why: string): S3Error =>
  new S3Error(
    'MalformedXML',
    400,
    `The XML you provided was not well-formed or did not validate against our published schema: ${why}`,
  );

export const notImplemented = (what: string): S3Error =>
  new S3Error('NotImplemented', 501, `${what} is not supported by this server.`);

export const preconditionFailed = (condition: string): S3Error =>
  new S3Error(
    'PreconditionFailed',
    412,
    'At least one of the pre-conditions you specified did not hold',
    { details: { Condition: condition } },
  );

export const invalidFilePath = (key: string, why: string): S3Error =>
  new S3Error('InvalidFilePath', 400, `Invalid file path: ${why}`, { details: { Key: key } });

interface Rule {
  readonly code: string;
  readonly status: number;
  /** Only when the text matches. */
  readonly when?: RegExp;
}

/** First matching rule of an error's code decides; the text stays ours. */
const RULES: Readonly<Record<ErrorCode, readonly Rule[]>> = {
  INVALID_INPUT: [
    {
      code: 'InvalidBucketName',
      status: 400,
      when: /only alphanumeric characters, underscores, and dashes|cannot be a UUID V4/,
    },
    {
      code: 'InvalidFilePath',
      status: 400,
      when: /only printable ASCII characters allowed|not allowed in path|traverses above root/,
    },
    { code: 'InvalidArgument', status: 400 },
  ],
  NOT_FOUND: [
    {
      code: 'NoSuchBucket',
      status: 404,
      when: /repos\/ ?\S+ not found|branches\/\S+\/ \S+ not found/,
    },
    { code: 'NoSuchVersion', status: 404, when: /commit \S+ (not found in repo|was deleted)/ },
    { code: 'NoSuchKey', status: 404 },
  ],
  ALREADY_EXISTS: [{ code: 'BucketAlreadyOwnedByYou', status: 409 }],
  STATE_CONFLICT: [
    {
      code: 'WriteToOutputBranch',
      status: 400,
      when: /cannot start a commit on an output branch/,
    },
    { code: 'InvalidFileParent', status: 400, when: /but it's not a directory/ },
    { code: 'InvalidFilePath', status: 400, when: /a file of type directory is already there/ },
    { code: 'OperationAborted', status: 409 },
  ],
  CONTENTION: [{ code: 'OperationAborted', status: 409 }],
  OVERLOADED: [{ code: 'SlowDown', status: 503 }],
  UNAVAILABLE: [{ code: 'ServiceUnavailable', status: 503 }],
  UNIMPLEMENTED: [{ code: 'NotImplemented', status: 501 }],
  UNAUTHENTICATED: [{ code: 'AccessDenied', status: 403 }],
  PERMISSION_DENIED: [{ code: 'AccessDenied', status: 403 }],
  CANCELLED: [{ code: 'RequestTimeout', status: 400 }],
  DEADLINE: [{ code: 'RequestTimeout', status: 400 }],
  CORRUPT_DATA: [{ code: 'InternalError', status: 500 }],
  NO_SPACE: [{ code: 'InsufficientStorage', status: 507 }],
  INTERNAL: [{ code: 'InternalError', status: 500 }],
};

/** Any error as an answer. A bug tells nothing but that it is one: the log has the rest. */
export function toS3Error(error: unknown): S3Error {
  if (error instanceof S3Error) return error;
  const code = codeOf(error);
  const message = messageOf(error);
  const rule = RULES[code].find(({ when }) => when === undefined || when.test(message)) as Rule;
  const text =
    code === 'INTERNAL' ? 'We encountered an internal error. Please try again.' : message;
  return new S3Error(rule.code, rule.status, text, { cause: error });
}
