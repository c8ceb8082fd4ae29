/**
 * Passes requests on to the process of a service, wherever it runs. Bodies stream both ways with
 * back-pressure; nothing is kept.
 */
import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { AppError, invalidInput, messageOf, notFound, unavailable } from '../../core/errors.js';
import { addAbortListener } from '../../core/signals.js';
import type { Wait } from '../../storage/types.js';
import type { Meta } from '../meta/index.js';
import { pipelineKey, pipelineNotFound, type PipelineRecord } from '../pipelines/model.js';
import { liveStateKey, type LiveState } from '../scheduling/live/model.js';
import type { Exchange } from '../../http/http-server.js';

/** Headers about one connection only. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
/** No byte from the service for so long: it hangs. */
const IDLE_MS = 300_000;
const CONNECT_MS = 10_000;

/** The service did not answer as HTTP; status 502. */
export class BadGateway extends AppError {
  readonly status = 502;
  constructor(message: string, cause: unknown) {
    super('UNAVAILABLE', message, { cause });
  }
}

export interface ProxyTarget {
  readonly pipeline: string;
  /** With query, starting with a slash. */
  readonly path: string;
}

/**
 * Sends the request on and its answer back. NOT_FOUND: no such pipeline; INVALID_INPUT: no service;
 * UNAVAILABLE: not running, and why; BadGateway: it does not answer.
 */
export async function proxyToService(
  deps: { readonly meta: Meta },
  exchange: Exchange,
  { pipeline: name, path }: ProxyTarget,
): Promise<void> {
  const { host, port } = await findService(deps.meta, name, exchange);
  const { request, response, signal } = exchange;
  const upstream = httpRequest({
    host,
    port,
    path,
    method: request.method,
    headers: forwarded(request),
    timeout: CONNECT_MS,
    agent: false,
  });
  const stop = addAbortListener(signal, () => upstream.destroy(signal.reason as Error));
  try {
    const answered = answerOf(upstream, `service ${name} at ${host}:${port}`);
    if (exchange.expectsContinue) response.writeContinue();
    exchange.expectsContinue = false;
    const sending = pipeline(request, upstream).catch((error: unknown) => error);
    const answer = await answered;
    upstream.setTimeout(IDLE_MS);
    response.writeHead(answer.statusCode ?? 502, answer.statusMessage, withoutHops(answer.headers));
    if (request.method === 'HEAD') response.end();
    else await pipeline(answer, response);
    // A service may answer without having read everything.
    if (!request.complete) upstream.destroy();
    await sending;
  } finally {
    stop();
  }
}

async function findService(
  meta: Meta,
  name: string,
  wait: Wait,
): Promise<{ host: string; port: number }> {
  const [record, state] = await Promise.all([
    meta.getJson<PipelineRecord>(pipelineKey(name), wait),
    meta.getJson<LiveState>(liveStateKey(name), wait),
  ]);
  if (!record) throw pipelineNotFound(name);
  if (record.live === undefined) throw invalidInput(`pipeline ${name} is not a service`);
  if (record.stopped) throw unavailable(`service ${name} is stopped; start it with start pipeline`);
  if (!state || state.address === '') {
    throw unavailable(`service ${name} is not running yet${because(record.reason)}`);
  }
  if (state.state === 'blocked' || state.state === 'waiting') {
    throw unavailable(`service ${name} is not running${because(state.reason)}`);
  }
  const port = state.externalPort || state.internalPort;
  if (port === 0) throw notFound(`pipeline ${name} has no port`);
  return { host: state.address, port };
}

function because(reason: string): string {
  return reason === '' ? '' : `: ${reason}`;
}

function answerOf(
  upstream: ReturnType<typeof httpRequest>,
  what: string,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    upstream.once('response', resolve);
    upstream.once('timeout', () => upstream.destroy(new Error('it does not answer in time')));
    upstream.on('error', (error) => {
      reject(new BadGateway(`${what} does not answer: ${messageOf(error)}`, error));
    });
  });
}

function forwarded(request: IncomingMessage): OutgoingHttpHeaders {
  const { remoteAddress } = request.socket;
  const before = request.headers['x-forwarded-for'];
  return {
    ...withoutHops(request.headers),
    'x-forwarded-for': [before ?? [], remoteAddress ?? []].flat().join(', '),
    'x-forwarded-host': request.headers.host ?? '',
    'x-forwarded-proto': 'http',
    // The body is as long as it was announced, or goes on chunk by chunk.
    ...(request.headers['transfer-encoding'] ? { 'transfer-encoding': 'chunked' } : {}),
  };
}

function withoutHops(headers: OutgoingHttpHeaders): OutgoingHttpHeaders {
  const named = String(headers['connection'] ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim());
  return Object.fromEntries(
    Object.entries(headers).filter(
      ([name]) => !HOP_BY_HOP.has(name) && name !== 'expect' && !named.includes(name),
    ),
  );
}
