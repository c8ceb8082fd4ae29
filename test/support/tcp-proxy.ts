/**
 * A TCP proxy that makes trouble: adds latency, freezes, blocks one direction, cuts connections, or
 * swallows what the server answers.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface TcpProxyOptions {
  /** Port of the server behind it, on loopback. */
  readonly port: number;
  /** Added in each direction. */
  readonly latencyMs?: number;
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

export class TcpProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  readonly #gates = { up: new Gate(), down: new Gate() };
  #dropReplies = false;
  #refuse = false;
  #cutAt = Infinity;
  #cutRefuses = false;
  /** Bytes that clients sent and that were handed on to the server. */
  bytesUp = 0;

  constructor(readonly options: TcpProxyOptions) {
    this.#server = createServer({ noDelay: true, allowHalfOpen: true }, (client) =>
      this.#accept(client),
    );
  }

  get port(): number {
    const address = this.#server.address();
    if (typeof address !== 'object' || !address) throw new Error('the proxy is closed');
    return address.port;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  /** Nothing passes either way, connections stay open. */
  suspend(): void {
    this.block('up');
    this.block('down');
  }

  resume(): void {
    this.#gates.up.open();
    this.#gates.down.open();
    this.#dropReplies = false;
    this.#refuse = false;
  }

  /** Blocks one direction: `up` = to the server, `down` = to the client. */
  block(direction: 'up' | 'down'): void {
    this.#gates[direction].shut();
  }

  /** From now on requests reach the server and its answers vanish, until `cut` or `resume`. */
  dropReplies(): void {
    this.#dropReplies = true;
  }

  /** Breaks every open connection. */
  cut(): void {
    for (const { client, server } of this.#pairs) {
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
    this.#pairs.clear();
  }

  /** Breaks every connection once this many bytes in all have gone to the server; may refuse others then. */
  cutAt(bytesUp: number, o: { refuse?: boolean } = {}): void {
    this.#cutAt = bytesUp;
    this.#cutRefuses = o.refuse ?? false;
  }

  /** New connections are closed at once, until `resume`. */
  refuse(): void {
    this.#refuse = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #accept(client: Socket): void {
    client.on('error', () => undefined);
    if (this.#refuse) {
      client.resetAndDestroy();
      return;
    }
    const server = connect({ port: this.options.port, host: '127.0.0.1', noDelay: true });
    server.on('error', () => client.resetAndDestroy());
    const pair = { client, server };
    this.#pairs.add(pair);
    void this.#pump(client, server, 'up');
    void this.#pump(server, client, 'down');
    client.on('close', () => {
      server.destroy();
      this.#pairs.delete(pair);
    });
    server.on('close', () => client.destroy());
  }

  #count(bytes: number): void {
    this.bytesUp += bytes;
    if (this.bytesUp < this.#cutAt) return;
    this.#cutAt = Infinity;
    if (this.#cutRefuses) this.refuse();
    this.cut();
  }

  async #pump(from: Socket, to: Socket, direction: 'up' | 'down'): Promise<void> {
    const latencyMs = this.options.latencyMs ?? 0;
    let last: Promise<void> = Promise.resolve();
    let waiting = 0;
    from.on('data', (bytes) => {
      const due = performance.now() + latencyMs;
      waiting += bytes.length;
      if (waiting > BUFFER_BYTES) from.pause();
      last = last.then(async () => {
        const left = due - performance.now();
        if (left > 0) await sleep(left);
        await this.#gates[direction].pass();
        waiting -= bytes.length;
        if (waiting <= BUFFER_BYTES / 2) from.resume();
        if (direction === 'down' && this.#dropReplies) return;
        if (to.destroyed) return;
        if (direction === 'up') this.#count(bytes.length);
        if (!to.destroyed && !to.write(bytes)) {
          await new Promise<void>((resolve) => {
            const done = (): void => {
              to.off('drain', done);
              to.off('close', done);
              resolve();
            };
            to.on('drain', done);
            to.on('close', done);
          });
        }
      });
    });
    from.on('end', () => {
      last = last.then(() => void to.end());
    });
  }
}

/** Bytes on the way per direction and connection; enough for 10 Gbit/s at 10 ms. */
const BUFFER_BYTES = 64 << 20;

class Gate {
  #shut: Promise<void> | undefined;
  #open: () => void = () => undefined;

  shut(): void {
    this.#shut ??= new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  open(): void {
    this.#open();
    this.#shut = undefined;
  }

  async pass(): Promise<void> {
    while (this.#shut) await this.#shut;
  }
}

/** Starts a proxy on a free port. */
export async function startTcpProxy(options: TcpProxyOptions): Promise<TcpProxy> {
  const proxy = new TcpProxy(options);
  await proxy.listen();
  return proxy;
}
