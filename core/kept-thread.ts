/**
 * A thread that is there while somebody needs it: started by the first user, let go after a rest
 * without any, so that what its heap has grown to is given back.
 *
 * K1 A thread with users is never let go.
 * K2 One that ends by itself is told of (`onLost`) and started anew for the next user; one that was
 *    let go is not told of.
 */
import { Worker } from 'node:worker_threads';

const REST_MS = 30_000;

export interface KeptThreadOptions<Reply> {
  /** Path of the thread's program, and what it is told when it starts. */
  readonly program: string;
  readonly setup: unknown;
  readonly onReply: (reply: Reply) => void;
  readonly onError: (error: unknown) => void;
  readonly onLost: () => void;
  /** How long it stays without users. */
  readonly restMs?: number | undefined;
}

/** One user's hold on the thread; disposing it lets go. */
export interface ThreadUse<Request> extends Disposable {
  send(request: Request): void;
}

export class KeptThread<Request, Reply> {
  #worker: Worker | undefined;
  #users = 0;
  #rest: NodeJS.Timeout | undefined;

  constructor(readonly options: KeptThreadOptions<Reply>) {}

  /** Whether the thread is there. */
  get running(): boolean {
    return this.#worker !== undefined;
  }

  /** Keeps the process alive, too, while somebody waits for the thread. */
  use(): ThreadUse<Request> {
    clearTimeout(this.#rest);
    const worker = (this.#worker ??= this.#start());
    this.#users += 1;
    worker.ref();
    return {
      send: (request) => worker.postMessage(request),
      [Symbol.dispose]: () => {
        this.#users -= 1;
        if (this.#users > 0) return;
        this.#worker?.unref();
        this.#rest = setTimeout(() => this.#letGo(), this.options.restMs ?? REST_MS);
        this.#rest.unref();
      },
    };
  }

  /** Ends the thread whatever it does. */
  async terminate(): Promise<void> {
    clearTimeout(this.#rest);
    await this.#worker?.terminate();
  }

  #letGo(): void {
    const worker = this.#worker;
    this.#worker = undefined;
    void worker?.terminate();
  }

  #start(): Worker {
    const { program, setup, onReply, onError } = this.options;
    const worker = new Worker(program, { workerData: setup });
    worker.on('message', onReply);
    worker.on('error', onError);
    worker.on('exit', () => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.options.onLost();
    });
    return worker;
  }
}
