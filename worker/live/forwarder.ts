/**
 * Opens a service's external port on this host and passes every connection on to the port where user
 * code listens. Lives as long as the duty, so that clients see refused connections, not a changing
 * port, while the process is started again.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { stateConflict } from '../../core/errors.js';

const CONNECTIONS_MAX = 1024;

export class Forwarder implements AsyncDisposable {
  readonly #sockets = new Set<Socket>();

  private constructor(
    readonly server: Server,
    readonly port: number,
    readonly internal: number,
  ) {
    server.maxConnections = CONNECTIONS_MAX;
    server.on('connection', (socket) => this.#pass(socket));
    server.on('error', () => undefined);
  }

  /** Listens on every address. STATE_CONFLICT says that the port is taken and what to do. */
  static async open(external: number, internal: number, host: string): Promise<Forwarder> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(whyNot(error, external, host)));
      server.listen(external, '0.0.0.0', resolve);
    });
    server.removeAllListeners('error');
    const address = server.address();
    const port = typeof address === 'object' && address ? address.port : external;
    return new Forwarder(server, port, internal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  #pass(outside: Socket): void {
    const options = { port: this.internal, host: '127.0.0.1', allowHalfOpen: true, noDelay: true };
    const inside = connect(options);
    for (const [one, other] of [
      [outside, inside],
      [inside, outside],
    ] as const) {
      this.#sockets.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        this.#sockets.delete(one);
        // A whole answer was passed on by `pipe`; anything else ends both sides.
        if (!one.readableEnded) other.destroy();
      });
    }
  }
}

/** Throws STATE_CONFLICT when somebody else listens where user code is going to. */
export async function needFreePort(port: number, host: string): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        stateConflict(
          `internal port ${port} of host ${host} is in use (${error.code}): services share their ` +
            "host's network; free the port, or change internal_port and what the code listens on",
        ),
      );
    });
    server.listen(port, '0.0.0.0', resolve);
  });
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

function whyNot(error: NodeJS.ErrnoException, port: number, host: string): Error {
  const taken = error.code === 'EADDRINUSE';
  const what = taken ? 'is taken by another program' : `cannot be opened (${error.message})`;
  return stateConflict(
    `external port ${port} of host ${host} ${what}; free it or choose another external_port`,
    { cause: error },
  );
}
