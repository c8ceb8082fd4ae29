/** Answers that may take long. */
import type { Clock } from '../../core/clock.js';
import type { Exchange } from '../http-server.js';
import { endResponse } from '../message-body.js';
import { errorDocument, sendXml } from './answers.js';
import { toS3Error } from './s3-error.js';
import { XML_DECLARATION } from './xml.js';

/** An answer that takes longer than this is begun, and kept alive with white space. */
const PATIENCE_MS = 5_000;

/**
 * Answers when the work is done. When that takes long the answer is begun and white space keeps the
 * connection alive; an error then comes in a body with status 200, as S3 clients expect here.
 */
export async function answerPatiently(
  clock: Clock,
  exchange: Exchange,
  work: () => Promise<{ element: string; headers: Record<string, string> }>,
): Promise<void> {
  const { response, signal } = exchange;
  const done = new AbortController();
  const waiting = AbortSignal.any([signal, done.signal]);
  const keepAlive = (async () => {
    for (;;) {
      await clock.sleep(PATIENCE_MS, { signal: waiting });
      if (!response.headersSent) {
        response.writeHead(200, { 'content-type': 'application/xml' });
        response.write(XML_DECLARATION);
      } else response.write(' ');
    }
  })().catch(() => undefined);
  try {
    const { element, headers } = await work();
    done.abort();
    await keepAlive;
    if (response.headersSent) await endResponse(exchange, element);
    else await sendXml(exchange, XML_DECLARATION + element, headers);
  } catch (error) {
    done.abort();
    await keepAlive;
    if (!response.headersSent || signal.aborted) throw error;
    const answer = toS3Error(error);
    exchange.log.warn({ err: error }, 'a multipart upload could not be completed');
    await endResponse(exchange, errorDocument(answer, exchange).slice(XML_DECLARATION.length));
  }
}
