/** The answer to GetObject and HeadObject. */
import type { Storage } from '../../storage/index.js';
import type { Exchange } from '../http-server.js';
import { planAnswer, sendFile, type FileAnswer } from '../send-file.js';
import { preconditionFailed, S3Error } from './s3-error.js';

/** Query parameters that replace headers of the answer. */
const OVERRIDES: Readonly<Record<string, string>> = {
  'response-cache-control': 'cache-control',
  'response-content-disposition': 'content-disposition',
  'response-content-encoding': 'content-encoding',
  'response-content-language': 'content-language',
  'response-content-type': 'content-type',
  'response-expires': 'expires',
};

/** Sends the object as the request wants it. Throws S3Error. */
export async function sendObject(
  storage: Pick<Storage, 'read'>,
  { exchange, query }: { readonly exchange: Exchange; readonly query: URLSearchParams },
  object: FileAnswer,
): Promise<void> {
  checkPartNumber(query.get('partNumber'));
  const overrides = Object.entries(OVERRIDES).flatMap(([name, header]) => {
    const value = query.get(name);
    return value === null ? [] : [[header, value.replace(/[^\x20-\x7e]/g, '')] as const];
  });
  const file = { ...object, headers: { ...object.headers, ...Object.fromEntries(overrides) } };
  const plan = planAnswer(exchange, file);
  if (plan.kind === 'precondition-failed') throw preconditionFailed('If-Match');
  if (plan.kind === 'range-not-satisfiable') throw badRange(object.content.size);
  await sendFile(storage, exchange, file, plan);
}

function checkPartNumber(text: string | null): void {
  if (text === null || text === '1') return;
  throw new S3Error('InvalidPartNumber', 416, 'The requested partnumber is not satisfiable');
}

function badRange(size: number): S3Error {
  return new S3Error('InvalidRange', 416, 'The requested range is not satisfiable', {
    details: { ActualObjectSize: String(size) },
    headers: { 'content-range': `bytes */${size}` },
  });
}
