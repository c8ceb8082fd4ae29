/**
 * Lets a test act in the place of user code: a datum calls here, tells what it sees, and ends as it
 * is told.
 */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { until } from './until.js';

/** A datum that waits. */
export interface HeldDatum {
  /** Its environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Ends it with this exit status. */
  end(code?: number): void;
}

const SCRIPT = `
import json, os, socket, sys
door = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
door.sendall((json.dumps(dict(os.environ)) + '\\n').encode())
sys.exit(int(door.makefile().readline()))
`;

export class DatumDoor implements AsyncDisposable {
  readonly #waiting: HeldDatum[] = [];
  readonly #sockets = new Set<Socket>();

  constructor(readonly server: Server) {
    server.on('connection', (socket) => void this.#take(socket));
  }

  static async open(): Promise<DatumDoor> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new DatumDoor(server);
  }

  /** `cmd` of a pipeline whose datums call here. */
  get cmd(): string[] {
    return ['python3', '-c', SCRIPT, String((this.server.address() as AddressInfo).port)];
  }

  /** The next datum of the pipeline that calls. */
  next(pipeline: string): Promise<HeldDatum> {
    return until(`a datum of ${pipeline} runs`, () => {
      const at = this.#waiting.findIndex(({ env }) => env['PPS_PIPELINE_NAME'] === pipeline);
      return at >= 0 && this.#waiting.splice(at, 1)[0];
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  async #take(socket: Socket): Promise<void> {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    const lines = createInterface(socket);
    // A datum that is killed breaks off.
    lines.on('error', () => undefined);
    const [line] = (await once(lines, 'line')) as [string];
    const env = JSON.parse(line) as Record<string, string>;
    this.#waiting.push({ env, end: (code = 0) => socket.end(`${code}\n`) });
  }
}
