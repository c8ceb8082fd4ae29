/**
 * A plain HTTP server whose handlers are async functions of an exchange.
 *
 * H1 An exchange's signal aborts when the client goes away before it has its answer, and when the
 *    server stops: nothing goes on for nobody.
 * H2 A handler that throws answers through `fail`; when the answer has begun already, the connection
 *    is cut, so that a client never takes a part for the whole.
 * H3 Bounded: connections, idle time, and the bytes that are read and thrown away behind an error.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Clock } from '../core/clock.js';
import { AppError, cancelled, codeOf, messageOf } from '../core/errors.js';
import { newUuid } from '../core/ids.js';
import type { Log } from '../core/log.js';
import { joinedController } from '../core/signals.js';
import type { EpochSource } from '../storage/index.js';

export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** The client waits for our go-ahead before it sends the body. */
  expectsContinue: boolean;
}

export interface HttpServerOptions {
  /** What it is called in logs and errors. */
  readonly name: string;
  /** host:port; port 0 = any free one. */
  readonly listen: string;
  /** When the port is taken, take any free one. */
  readonly giveWay: boolean;
  readonly log: Log;
  readonly clock: Clock;
  /** What exchanges write and refer to is held while they run. */
  readonly epochs?: EpochSource;
  readonly handle: (exchange: Exchange) => Promise<void>;
  /** Writes the answer for an error; nothing has been sent yet. */
  readonly fail: (exchange: Exchange, error: unknown) => void;
}

export interface HttpServer extends AsyncDisposable {
  readonly port: number;
}

const CONNECTIONS_MAX = 1024;
/** No byte either way for so long: the client is gone. */
const IDLE_MS = 300_000;
const KEEP_ALIVE_MS = 65_000;
const HEADERS_MS = 60_000;
const DRAIN_MS = 3_000;
/** What is read behind an early answer, so that the client gets to see it. */
const DISCARD_BYTES = 256 * 1024 * 1024;

/** Binds and serves. UNAVAILABLE when the port is taken and may not give way. */
export async function openHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const stopping = new AbortController();
  const server = createServer();
  server.maxConnections = CONNECTIONS_MAX;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.headersTimeout = HEADERS_MS;
  // A large upload may take as long as it likes, as long as bytes come.
  server.requestTimeout = 0;
  server.timeout = IDLE_MS;
  const take = (expectsContinue: boolean) => (request: IncomingMessage, response: ServerResponse) =>
    void serve({ request, response, expectsContinue }, options, stopping.signal);
  server.on('request', take(false));
  server.on('checkContinue', take(true));
  const port = await bind(server, options);
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    const grace = new AbortController();
    const late = options.clock.sleep(DRAIN_MS, { signal: grace.signal }).catch(() => undefined);
    await Promise.race([closed, late]);
    grace.abort();
    stopping.abort(new AppError('UNAVAILABLE', 'the server is stopping'));
    server.closeAllConnections();
    await closed;
  };
  return { port, [Symbol.asyncDispose]: () => (closing ??= close()) };
}

/** Copies, and what is put together of parts, refer to bytes that others stored. */
function refers({ method, url = '', headers }: IncomingMessage): boolean {
  return 'x-amz-copy-source' in headers || (method === 'POST' && /[?&]uploadId=/.test(url));
}

async function serve(
  raw: Pick<Exchange, 'request' | 'response' | 'expectsContinue'>,
  options: HttpServerOptions,
  stopped: AbortSignal,
): Promise<void> {
  const { request, response } = raw;
  const requestId = newUuid();
  const log = options.log.child({
    request: requestId,
    method: request.method,
    path: request.url?.split('?')[0]?.slice(0, 256),
  });
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort(cancelled('the client went away'));
  });
  // Errors of the connection come with its close; without a listener they would end the process.
  request.on('error', () => undefined);
  response.on('error', () => undefined);
  const hold = options.epochs?.hold(refers(request) ? 'refs' : 'writes');
  using scope = joinedController([gone.signal, stopped, ...(hold ? [hold.signal] : [])]);
  const { signal } = scope;
  const exchange: Exchange = { ...raw, requestId, log, signal };
  // Until its body is asked for, the connection is of no use after the answer.
  if (raw.expectsContinue) response.setHeader('connection', 'close');
  const startMs = options.clock.monotonicMs();
  const durationMs = (): number => Math.round(options.clock.monotonicMs() - startMs);
  try {
    await options.handle(exchange);
    log.debug(
      { status: response.statusCode, durationMs: durationMs() },
      `${options.name} answered`,
    );
  } catch (error) {
    logFailure(options.name, { log, error, durationMs: durationMs() });
    if (response.headersSent || gone.signal.aborted) {
      request.destroy();
      return;
    }
    options.fail(exchange, error);
  } finally {
    hold?.[Symbol.dispose]();
  }
  if (!exchange.expectsContinue) discardRest(request);
}

/** Reads what the client still sends and nobody wants, up to a limit. */
function discardRest(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return;
  let bytes = 0;
  request.on('data', (part: Buffer) => {
    bytes += part.length;
    if (bytes > DISCARD_BYTES) request.destroy();
  });
  request.resume();
}

/** Only bugs and weather are loud; what a client did wrong is its own business. */
function logFailure(name: string, failure: { log: Log; error: unknown; durationMs: number }): void {
  const { log, error, durationMs } = failure;
  const answer = (error as { status?: number }).status ?? 500;
  const errorCode = codeOf(error);
  const fields = { errorCode, durationMs, err: error };
  if (answer < 500 || answer === 501) log.debug({ ...fields, status: answer }, `${name} refused`);
  else if (errorCode === 'INTERNAL' || errorCode === 'CORRUPT_DATA') {
    log.error(fields, `${name} failed`);
  } else if (errorCode === 'UNAVAILABLE' || errorCode === 'NO_SPACE') {
    log.warn(fields, `${name} failed`);
  } else log.debug(fields, `${name} answered with an error`);
}

async function bind(server: Server, options: HttpServerOptions): Promise<number> {
  const { host, port } = addressOf(options.listen);
  try {
    return await listen(server, host, port);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') {
      throw new AppError(
        'UNAVAILABLE',
        `the ${options.name} cannot listen on ${options.listen}: ${messageOf(error)}`,
        { cause: error },
      );
    }
    if (options.giveWay) return listen(server, host, 0);
    throw new AppError(
      'UNAVAILABLE',
      `the address ${options.listen} of the ${options.name} is taken by another program; ` +
        'stop it or choose another port',
      { cause: error },
    );
  }
}

function addressOf(listen: string): { host: string; port: number } {
  const at = listen.lastIndexOf(':');
  return {
    host: listen.slice(0, at).replace(/^\[(.*)\]$/, '$1'),
    port: Number(listen.slice(at + 1)),
  };
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise<number>((resolve, reject) => {
    const onError = (error: Error): void => reject(error);
    server.once('error', onError);
    server.listen(port, host, () => {
      server.off('error', onError);
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : port);
    });
  });
}
