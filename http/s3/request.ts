/** A request as S3 means it: which bucket and key, what is asked, what the body says. */
import type { Exchange } from '../http-server.js';
import { requestBody, wholeBody } from '../message-body.js';
import { checkKeyLength } from './object-key.js';
import { openPayload } from './payload.js';
import { invalidArgument, S3Error } from './s3-error.js';
import { readSignature } from './signature.js';
import { parseXml, type XmlElement } from './xml.js';

export interface Target {
  readonly exchange: Exchange;
  readonly method: string;
  /** As the client wrote it; empty: the service itself. */
  readonly bucket: string;
  /** Without leading slash; empty: the bucket itself. */
  readonly key: string;
  readonly query: URLSearchParams;
}

const XML_BYTES_MAX = 8 * 1024 * 1024;
/** Names below this one are buckets: `master.data.localhost:30600`. */
const VIRTUAL_HOST = /^(.+)\.localhost(?::\d+)?$/i;

/** Reads the request line and the signature. Throws S3Error. */
export function readTarget(exchange: Exchange, wallMs: number): Target {
  const { request } = exchange;
  const url = request.url ?? '/';
  const mark = url.indexOf('?');
  const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
  readSignature(request.headers, query, wallMs);
  const { bucket, key } = targetOf(mark < 0 ? url : url.slice(0, mark), request.headers.host);
  checkKeyLength(key);
  return { exchange, method: request.method ?? 'GET', bucket, key, query };
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
export interface SourceName {
  readonly bucket: string;
  readonly key: string;
  readonly version: string | undefined;
}

/** The source that a copy names; undefined when the request is no copy. */
export function sourceNameOf({ request }: Exchange): SourceName | undefined {
  const text = request.headers['x-amz-copy-source'];
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
    bucket: plain.slice(0, slash),
    key: plain.slice(slash + 1),
    version: new URLSearchParams(parameters ?? '').get('versionId') ?? undefined,
  };
}

/** The body as XML. */
export async function xmlBody({ exchange }: { readonly exchange: Exchange }): Promise<XmlElement> {
  const { bytes } = openPayload(exchange.request.headers, requestBody(exchange));
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
