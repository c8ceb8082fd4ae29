/** Bytes into and out of an exchange, with backpressure both ways. */
import { once } from 'node:events';
import { cancelled, invalidInput } from '../core/errors.js';
import type { Exchange } from './http-server.js';

/**
 * The request's body. Ends only when the client really ended it: a connection that breaks off
 * throws, so that a part is never taken for the whole.
 */
export async function* requestBody(exchange: Exchange): AsyncGenerator<Buffer> {
  const { request, response, signal } = exchange;
  signal.throwIfAborted();
  if (exchange.expectsContinue) {
    exchange.expectsContinue = false;
    response.removeHeader('connection');
    response.writeContinue();
  }
  // Leaving early must not cut the connection: the answer still has to go out on it.
  try {
    for await (const part of request.iterator({ destroyOnReturn: false })) yield part as Buffer;
  } catch (error) {
    signal.throwIfAborted();
    throw cancelled('the client broke off its upload', { cause: error });
  }
  if (!request.complete) throw cancelled('the client broke off its upload');
}

/** A small body, whole. INVALID_INPUT beyond `bytesMax`. */
export async function wholeBody(
  parts: AsyncIterable<Buffer>,
  options: { readonly bytesMax: number },
): Promise<Buffer> {
  const all: Buffer[] = [];
  let size = 0;
  for await (const part of parts) {
    size += part.length;
    if (size > options.bytesMax) {
      throw invalidInput(`the body of the request is larger than ${options.bytesMax} bytes`);
    }
    all.push(part);
  }
  return Buffer.concat(all);
}

/** Writes bytes as they come, no faster than the client takes them. */
export async function sendBytes(exchange: Exchange, parts: AsyncIterable<Buffer>): Promise<void> {
  const { response, signal } = exchange;
  for await (const part of parts) {
    signal.throwIfAborted();
    if (!response.write(part)) await once(response, 'drain', { signal });
  }
  await endResponse(exchange);
}

/** Ends the answer and waits until the system has it. */
export async function endResponse(exchange: Exchange, last?: string | Buffer): Promise<void> {
  const { response, signal } = exchange;
  const finished = once(response, 'finish', { signal });
  response.end(last);
  await finished;
}
