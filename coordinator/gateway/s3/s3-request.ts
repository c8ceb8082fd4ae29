/** A request as S3 means it: bucket, key, parameters, who asks. */
import type { Clock } from '../../../core/clock.js';
import type { Exchange } from '../http/http-server.js';
import { requestBody, wholeBody } from '../http/message-body.js';
import { parseBucket, type Bucket, type GatewayDeps } from './bucket.js';
import { checkKeyLength } from './object-key.js';
import { openPayload } from './payload.js';
import { S3Error, invalidArgument } from './s3-error.js';
import { readSignature } from './signature.js';
import { parseXml, type XmlElement } from './xml.js';

export interface S3Deps extends GatewayDeps {
  readonly clock: Clock;
}

export interface S3Request {
  readonly exchange: Exchange;
  readonly method: string;
  /** undefined: the service itself. */
  readonly bucket: Bucket | undefined;
  /** Without leading slash; empty: the bucket itself. */
  readonly key: string;
  readonly query: URLSearchParams;
}

export interface BucketRequest extends S3Request {
  readonly bucket: Bucket;
}

const XML_BYTES_MAX = 8 * 1024 * 1024;
/** Names below this one are buckets: `master.data.localhost:30600`. */
const VIRTUAL_HOST = /^(.+)\.localhost(?::\d+)?$/i;

/** Reads the request line and the signature. Throws S3Error. */
export function readRequest(exchange: Exchange, wallMs: number): S3Request {
  const { request } = exchange;
  const url = request.url ?? '/';
  const mark = url.indexOf('?');
  const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
  readSignature(request.headers, query, wallMs);
  const { bucket, key } = targetOf(mark < 0 ? url : url.slice(0, mark), request.headers.host);
  checkKeyLength(key);
  return {
    exchange,
    method: request.method ?? 'GET',
    bucket: bucket === '' ? undefined : parseBucket(bucket),
    key,
    query,
  };
}

function targetOf(path: string, host: string | undefined): { bucket: string; key: string } {
  const virtual = VIRTUAL_HOST.exec(host ?? '')?.[1];
  // Some clients send the whole URL.
  const plain = path.replace(/^https?:\/\/[^/]*/i, '').replace(/^\//, '');
  if (virtual !== undefined) return { bucket: virtual, key: decode(plain) };
  const slash = plain.indexOf('/');
  return slash < 0
    ? { bucket: decode(plain), key: '' }
    : { bucket: decode(plain.slice(0, slash)), key: decode(plain.slice(slash + 1)) };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new S3Error('InvalidURI', 400, "Couldn't parse the specified URI.", {
      details: { URI: text.slice(0, 1024) },
    });
  }
}

/** A source of a copy: `/bucket/key?versionId=…`, percent-encoded. */
export interface CopySource {
  readonly bucket: Bucket;
  readonly key: string;
  readonly version: string | undefined;
}

/** The source that a copy names; undefined when the request is no copy. */
export function copySourceOf({ exchange }: S3Request): CopySource | undefined {
  const text = exchange.request.headers['x-amz-copy-source'];
  if (typeof text !== 'string') return undefined;
  const [path = '', parameters] = text.split(/\?(?=versionId=)/);
  const plain = decode(path).replace(/^\//, '');
  const slash = plain.indexOf('/');
  if (slash < 1 || slash === plain.length - 1) {
    throw invalidArgument(
      'x-amz-copy-source',
      text,
      'Copy Source must mention the source bucket and key: sourcebucket/sourcekey',
    );
  }
  return {
    bucket: parseBucket(plain.slice(0, slash)),
    key: plain.slice(slash + 1),
    version: new URLSearchParams(parameters ?? '').get('versionId') ?? undefined,
  };
}

/** The body as XML. */
export async function xmlBody(request: S3Request): Promise<XmlElement> {
  const { bytes } = openPayload(request.exchange.request.headers, requestBody(request.exchange));
  return parseXml((await wholeBody(bytes, { bytesMax: XML_BYTES_MAX })).toString('utf8'));
}

/** A whole number within limits. Throws InvalidArgument. */
export function numberOf(
  query: URLSearchParams,
  name: string,
  limits: { readonly initial: number; readonly least: number; readonly most: number },
): number {
  const text = query.get(name);
  if (text === null || text === '') return limits.initial;
  const value = Number(text);
  if (!/^-?\d{1,12}$/.test(text) || value < limits.least || value > limits.most) {
    throw invalidArgument(
      name,
      text,
      `Argument ${name} must be an integer between ${limits.least} and ${limits.most}`,
    );
  }
  return value;
}
