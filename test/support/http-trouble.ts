/**
 * An HTTP proxy that makes the trouble a busy object store makes: it answers 503 SlowDown, resets
 * connections, stalls, and swallows the answers to requests that were carried out. Which request meets
 * what is decided by its number, so that a run can be repeated.
 */
import {
  createServer,
  request,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';

export type Trouble = 'slowDown' | 'reset' | 'stall' | 'lostReply';

/** Of a thousand requests, how many meet each. */
export type Shares = Readonly<Record<Trouble, number>>;

const SLOW_DOWN =
  '<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>' +
  '<Message>Please reduce your request rate.</Message></Error>';

export class HttpTrouble implements AsyncDisposable {
  /** How often each was met. */
  readonly met: Record<Trouble, number> = { slowDown: 0, reset: 0, stall: 0, lostReply: 0 };
  requests = 0;
  /** Stalled requests: those whose client was still there at the end, and those it had cancelled. */
  readonly stalled = { open: 0, waitedOut: [] as string[], cancelled: [] as string[] };
  readonly #server: Server;

  constructor(
    readonly target: URL,
    readonly shares: Shares,
    readonly stallMs: number,
  ) {
    this.#server = createServer((from, to) => this.#serve(from, to));
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    if (typeof address !== 'object' || !address) throw new Error('the proxy is closed');
    return `http://127.0.0.1:${address.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #serve(from: IncomingMessage, to: ServerResponse): void {
    const trouble = this.#next(from.method ?? '');
    from.on('error', () => undefined);
    if (trouble) this.met[trouble] += 1;
    if (trouble === 'reset') {
      from.socket.resetAndDestroy();
    } else if (trouble === 'slowDown') {
      from.resume().on('end', () => {
        to.writeHead(503, { 'content-type': 'application/xml', 'retry-after': '1' });
        to.end(SLOW_DOWN);
      });
    } else if (trouble === 'stall') {
      this.#stall(from, to);
    } else this.#forward(from, to, trouble === 'lostReply');
  }

  #stall(from: IncomingMessage, to: ServerResponse): void {
    const method = from.method ?? '';
    this.stalled.open += 1;
    const timer = setTimeout(() => {
      this.stalled.open -= 1;
      to.off('close', gone);
      this.stalled.waitedOut.push(method);
      this.#forward(from, to, false);
    }, this.stallMs);
    const gone = (): void => {
      clearTimeout(timer);
      this.stalled.open -= 1;
      this.stalled.cancelled.push(method);
    };
    to.once('close', gone);
  }

  /** The trouble of the next request. Only writes lose their answers. */
  #next(method: string): Trouble | undefined {
    this.requests += 1;
    // Numbers from 0 to 999 that look like chance (multiplicative hash).
    let place = (Math.imul(this.requests, 0x9e3779b1) >>> 0) % 1000;
    for (const kind of ['slowDown', 'reset', 'stall', 'lostReply'] as const) {
      if (place < this.shares[kind])
        return kind === 'lostReply' && method !== 'PUT' ? undefined : kind;
      place -= this.shares[kind];
    }
    return undefined;
  }

  #forward(from: IncomingMessage, to: ServerResponse, lost: boolean): void {
    const { hostname, port } = this.target;
    const { method, url: path, headers } = from;
    const onward = request({ hostname, port, method, path, headers }, (answer) => {
      if (lost) {
        answer.resume().on('end', () => from.socket.resetAndDestroy());
        return;
      }
      to.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(to);
    });
    onward.on('error', () => from.socket.resetAndDestroy());
    to.on('close', () => onward.destroy());
    from.pipe(onward);
  }
}
