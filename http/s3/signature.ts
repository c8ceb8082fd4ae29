/**
 * Who signs a request. While no access control is switched on every key is welcome, so signatures
 * are not checked against a secret; a request that is not signed as it says it is, is refused.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { S3Error } from './s3-error.js';

export interface Caller {
  /** undefined: nobody signed. */
  readonly accessKey: string | undefined;
}

const V4 = 'AWS4-HMAC-SHA256';
const DATE_TIME = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/;
const EXPIRES_MAX_S = 604_800;

/** Reads the signature of a request (version 4 or 2, header or query). Throws S3Error. */
export function readSignature(
  headers: IncomingHttpHeaders,
  query: URLSearchParams,
  wallMs: number,
): Caller {
  const { authorization } = headers;
  const inQuery = query.has('X-Amz-Algorithm') || query.has('X-Amz-Signature');
  if (authorization !== undefined && inQuery) {
    throw new S3Error(
      'InvalidArgument',
      400,
      'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified',
    );
  }
  if (authorization !== undefined) return fromHeader(authorization, headers);
  if (inQuery) return fromQuery(query, wallMs);
  if (query.has('AWSAccessKeyId')) return fromOldQuery(query, wallMs);
  return { accessKey: undefined };
}

function fromHeader(authorization: string, headers: IncomingHttpHeaders): Caller {
  const [scheme = '', rest = ''] = splitOnce(authorization.trim(), ' ');
  if (scheme === 'AWS') return version2(rest);
  if (scheme !== V4) {
    throw new S3Error('InvalidArgument', 400, 'Unsupported Authorization Type', {
      details: { ArgumentName: 'Authorization' },
    });
  }
  const fields = new Map(
    rest.split(',').map((part) => {
      const [name = '', value = ''] = splitOnce(part.trim(), '=');
      return [name, value] as const;
    }),
  );
  const malformed = (why: string): S3Error =>
    new S3Error(
      'AuthorizationHeaderMalformed',
      400,
      `The authorization header is malformed; ${why}.`,
    );
  const caller = checkV4(
    {
      credential: fields.get('Credential') ?? '',
      signedHeaders: fields.get('SignedHeaders') ?? '',
      signature: fields.get('Signature') ?? '',
    },
    malformed,
  );
  const date = headers['x-amz-date'];
  if (!(typeof date === 'string' && DATE_TIME.test(date)) && !isDate(headers.date)) {
    throw new S3Error(
      'AccessDenied',
      403,
      'AWS authentication requires a valid Date or x-amz-date header',
    );
  }
  return caller;
}

function checkV4(
  parts: { credential: string; signedHeaders: string; signature: string },
  malformed: (why: string) => S3Error,
): Caller {
  const scope = parts.credential.split('/');
  const [terminator, service, region, date] = scope.reverse();
  const accessKey = scope.slice(4).reverse().join('/');
  if (parts.credential === '') throw malformed('the Credential is missing');
  if (scope.length < 5 || accessKey === '') {
    throw malformed('the Credential must be KEY/YYYYMMDD/REGION/SERVICE/aws4_request');
  }
  if (terminator !== 'aws4_request') throw malformed('the Credential must end in aws4_request');
  if (service !== 's3') throw malformed(`incorrect service "${service}"; expecting "s3"`);
  if (region === '' || !/^\d{8}$/.test(date ?? '')) {
    throw malformed('the Credential needs a date YYYYMMDD and a region');
  }
  if (!parts.signedHeaders.split(';').includes('host')) {
    throw malformed('SignedHeaders must include host');
  }
  if (!/^[0-9a-f]{64}$/.test(parts.signature)) {
    throw malformed('the Signature must be 64 hexadecimal digits');
  }
  return { accessKey };
}

function fromQuery(query: URLSearchParams, wallMs: number): Caller {
  const malformed = (why: string): S3Error =>
    new S3Error('AuthorizationQueryParametersError', 400, `Error parsing the query: ${why}.`);
  const text = (name: string): string => query.get(name) ?? '';
  if (text('X-Amz-Algorithm') !== V4) {
    throw malformed(`X-Amz-Algorithm only supports "${V4}"`);
  }
  const caller = checkV4(
    {
      credential: text('X-Amz-Credential'),
      signedHeaders: text('X-Amz-SignedHeaders'),
      signature: text('X-Amz-Signature'),
    },
    malformed,
  );
  const date = DATE_TIME.exec(text('X-Amz-Date'));
  if (!date) throw malformed('X-Amz-Date must look like 20260131T235959Z');
  const expires = Number(text('X-Amz-Expires'));
  if (text('X-Amz-Expires') === '' || !Number.isInteger(expires) || expires < 1) {
    throw malformed('X-Amz-Expires must be a number of seconds above 0');
  }
  if (expires > EXPIRES_MAX_S) throw malformed(`X-Amz-Expires must be at most ${EXPIRES_MAX_S}`);
  const [, year, month, day, hour, minute, second] = date;
  const signedMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  checkExpiry(signedMs + expires * 1000, wallMs);
  return caller;
}

function fromOldQuery(query: URLSearchParams, wallMs: number): Caller {
  const caller = version2(`${query.get('AWSAccessKeyId')}:${query.get('Signature')}`);
  checkExpiry(Number(query.get('Expires')) * 1000, wallMs);
  return caller;
}

function version2(text: string): Caller {
  const found = /^(.+):[A-Za-z0-9+/]+={0,2}$/.exec(text.trim());
  if (!found) {
    throw new S3Error(
      'InvalidArgument',
      400,
      'AWS authorization header is invalid. Expected AwsAccessKeyId:signature',
    );
  }
  return { accessKey: found[1] };
}

function checkExpiry(endMs: number, wallMs: number): void {
  // What is not a time has expired.
  if (!(endMs >= wallMs)) throw new S3Error('AccessDenied', 403, 'Request has expired');
}

function isDate(text: string | undefined): boolean {
  return text !== undefined && !Number.isNaN(Date.parse(text));
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
