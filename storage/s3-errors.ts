/**
 * What goes wrong at an S3 endpoint, in words: every text names the bucket and the endpoint, and
 * the code says whether trying again makes sense.
 */
import { AppError, noSpace, notFound, overloaded, unavailable } from '../core/errors.js';

export interface S3Place {
  readonly bucket: string;
  readonly endpoint: string;
}

interface SdkError {
  readonly name?: string;
  readonly code?: string;
  readonly message?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** Translates an error of the AWS SDK once, where it is first seen. Cancellation stays as it is. */
export function fromS3Error(error: unknown, place: S3Place, key: string): unknown {
  if (error instanceof AppError) return error;
  const { name, code, message, $metadata } = (error ?? {}) as SdkError;
  if (name === 'AbortError') return error;
  const where = `bucket ${place.bucket} at ${place.endpoint}`;
  const options = { cause: error, fields: { ...place, key, s3Error: name } };
  const status = $metadata?.httpStatusCode;
  if (name === 'NoSuchBucket') return unavailable(`there is no ${where}`, options);
  if (name === 'RequestTimeTooSkewed') {
    return denied(`${where} refuses requests: set this machine's clock`, options);
  }
  switch (status) {
    case 404:
      return notFound(`object ${key} is missing in ${where}`, options);
    case 401:
    case 403:
      return denied(
        `${where} refuses these credentials (${name}): check the access key, the secret and the ` +
          "bucket's policy",
        options,
      );
    case 429:
    case 503:
      return overloaded(`${where} asks to slow down`, options);
    case 507:
      return noSpace(`no space left in ${where}: free some there and try again`, options);
    default:
  }
  if (name === 'BadDigest' || name === 'XAmzContentSHA256Mismatch') {
    return unavailable(`bytes were garbled on the way to ${where}`, options);
  }
  if (status !== undefined && status < 500 && status >= 400) {
    return new AppError('INTERNAL', `${where} refused a request: ${name}: ${message}`, options);
  }
  const why = status === undefined ? (code ?? name ?? 'no answer') : `HTTP ${status}`;
  return unavailable(
    `cannot reach ${where} (${why}): check that the server runs and that the address is right`,
    options,
  );
}

function denied(message: string, options: { cause: unknown; fields: object }): AppError {
  return new AppError('PERMISSION_DENIED', message, {
    cause: options.cause,
    fields: { ...options.fields },
  });
}
