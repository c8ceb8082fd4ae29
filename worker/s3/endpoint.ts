/**
 * The S3 server of a slot. It keeps its port for the worker's life, so that clients of a process
 * that stays alive need not be made anew; what it serves is that of the datum that runs in the slot.
 */
import type { Clock } from '../../core/clock.js';
import { unavailable } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import { openHttpServer, type Exchange, type HttpServer } from '../../http/http-server.js';
import { sendError } from '../../http/s3/answers.js';
import { toS3Error } from '../../http/s3/s3-error.js';
import type { S3Session } from './session.js';

interface Deps {
  readonly clock: Clock;
  readonly log: Log;
}

/** User code shares the worker's network, also in images. */
const HOST = '127.0.0.1';

export class S3Endpoints implements AsyncDisposable {
  readonly #open = new Map<number, Promise<S3Endpoint>>();

  constructor(readonly deps: Deps) {}

  /** The server of a slot, started when it is asked for first. */
  of(slot: number): Promise<S3Endpoint> {
    const known = this.#open.get(slot);
    if (known) return known;
    const opening = S3Endpoint.open(this.deps);
    this.#open.set(slot, opening);
    opening.catch(() => this.#open.delete(slot));
    return opening;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const opening of this.#open.values()) {
      await opening.then((one) => one[Symbol.asyncDispose]()).catch(() => undefined);
    }
  }
}

export class S3Endpoint implements AsyncDisposable {
  #session: S3Session | undefined;
  #server: HttpServer | undefined;

  static async open({ clock, log }: Deps): Promise<S3Endpoint> {
    const endpoint = new S3Endpoint();
    endpoint.#server = await openHttpServer({
      name: 'S3 endpoint of a slot',
      listen: `${HOST}:0`,
      giveWay: false,
      clock,
      log,
      handle: (exchange) => endpoint.#handle(exchange),
      fail: (exchange, error) => sendError(exchange, toS3Error(error)),
    });
    return endpoint;
  }

  /** What user code finds in S3_ENDPOINT. */
  get url(): string {
    return `http://${HOST}:${this.#server?.port}`;
  }

  /** Serves this from now on. The session before has ended. */
  serve(session: S3Session): void {
    this.#session = session;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session?.end();
    await this.#server?.[Symbol.asyncDispose]();
  }

  async #handle(exchange: Exchange): Promise<void> {
    const { response, requestId } = exchange;
    response.setHeader('server', 'Tusk');
    response.setHeader('x-amz-request-id', requestId);
    response.setHeader('x-amz-id-2', 'tusk');
    if (!this.#session) throw unavailable('no datum runs here now');
    await this.#session.handle(exchange);
  }
}
