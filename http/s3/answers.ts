/** Small answers: headers alone, XML documents, errors. */
import type { Exchange } from '../http-server.js';
import { endResponse } from '../message-body.js';
import type { S3Error } from './s3-error.js';
import { document, tag } from './xml.js';

export type Headers = Readonly<Record<string, string | number>>;

export async function sendEmpty(
  exchange: Exchange,
  status: number,
  headers: Headers = {},
): Promise<void> {
  const length = status === 204 || status === 304 ? {} : { 'content-length': 0 };
  exchange.response.writeHead(status, { ...length, ...headers });
  await endResponse(exchange);
}

export async function sendXml(
  exchange: Exchange,
  text: string,
  headers: Headers = {},
): Promise<void> {
  const bytes = Buffer.from(text);
  exchange.response.writeHead(200, {
    'content-type': 'application/xml',
    'content-length': bytes.length,
    ...headers,
  });
  await endResponse(exchange, bytes);
}

/** The document of an error. */
export function errorDocument(error: S3Error, exchange: Exchange): string {
  const { request, requestId } = exchange;
  return document(
    'Error',
    [
      tag('Code', error.code),
      tag('Message', error.message),
      ...Object.entries(error.details).map(([name, value]) => tag(name, value)),
      tag('Resource', (request.url ?? '').split('?')[0] ?? ''),
      tag('RequestId', requestId),
      tag('HostId', 'tusk'),
    ],
    '',
  );
}

/** Answers with an error; nothing has been sent yet. */
export function sendError(exchange: Exchange, error: S3Error): void {
  const { request, response } = exchange;
  for (const name of response.getHeaderNames()) {
    if (!name.startsWith('x-amz-') && name !== 'connection') response.removeHeader(name);
  }
  const bytes = Buffer.from(errorDocument(error, exchange));
  response.writeHead(error.status, {
    'content-type': 'application/xml',
    ...(error.status === 304 ? {} : { 'content-length': bytes.length }),
    ...error.headers,
  });
  response.end(request.method === 'HEAD' || error.status === 304 ? undefined : bytes);
}

/** Times in documents. */
export function isoTime(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
