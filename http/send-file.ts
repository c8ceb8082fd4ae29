/** Answers GET and HEAD of a file: conditions, ranges, bytes. Shared by the S3 and HTTP APIs. */
import type { Storage } from '../storage/index.js';
import type { FileContent } from '../storage/types.js';
import {
  checkConditions,
  conditionsOf,
  rangeOf,
  type ByteRange,
  type Validators,
} from './conditions.js';
import type { Exchange } from './http-server.js';
import { endResponse, sendBytes } from './message-body.js';

export interface FileAnswer extends Validators {
  readonly content: FileContent;
  readonly headers: Readonly<Record<string, string>>;
}

/** What a request for a file comes to. */
export type FilePlan =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly range: ByteRange }
  | { readonly kind: 'not-modified' }
  | { readonly kind: 'precondition-failed' }
  | { readonly kind: 'range-not-satisfiable' };

export type Servable = Extract<FilePlan, { kind: 'whole' | 'part' | 'not-modified' }>;

/** Decides by the request's headers. The caller answers the two kinds that are errors. */
export function planAnswer({ request }: Exchange, file: FileAnswer): FilePlan {
  const verdict = checkConditions(conditionsOf(request.headers), file);
  if (verdict === 'failed') return { kind: 'precondition-failed' };
  if (verdict === 'not-modified') return { kind: 'not-modified' };
  const range = rangeOf(request.headers, file.content.size, file);
  if (range === 'unsatisfiable') return { kind: 'range-not-satisfiable' };
  return range ? { kind: 'part', range } : { kind: 'whole' };
}

/** Sends headers and, for GET, the bytes. The first bytes are read before anything is promised. */
export async function sendFile(
  storage: Pick<Storage, 'read'>,
  exchange: Exchange,
  file: FileAnswer,
  plan: Servable,
): Promise<void> {
  const { request, response, signal } = exchange;
  const { size } = file.content;
  const head: Record<string, string | number> = {
    ...file.headers,
    etag: file.etag,
    'accept-ranges': 'bytes',
    ...(file.modifiedMs === undefined
      ? {}
      : { 'last-modified': new Date(file.modifiedMs).toUTCString() }),
  };
  if (plan.kind === 'not-modified') {
    response.writeHead(304, head);
    await endResponse(exchange);
    return;
  }
  const { offset, length } = plan.kind === 'part' ? plan.range : { offset: 0, length: size };
  head['content-length'] = length;
  if (plan.kind === 'part') {
    head['content-range'] = `bytes ${offset}-${offset + length - 1}/${size}`;
  }
  const status = plan.kind === 'part' ? 206 : 200;
  if (request.method === 'HEAD' || length === 0) {
    response.writeHead(status, head);
    await endResponse(exchange);
    return;
  }
  const parts = storage.read(file.content, { signal, offset, length })[Symbol.asyncIterator]();
  const first = await parts.next();
  response.writeHead(status, head);
  await sendBytes(exchange, resumed(first, parts));
}

async function* resumed(
  first: IteratorResult<Buffer>,
  rest: AsyncIterator<Buffer>,
): AsyncGenerator<Buffer> {
  try {
    for (let next = first; !next.done; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}
