/** Messages of one turn of the event loop, sent together when it ends. */
export class Outbox<T> {
  #held: T[] = [];

  constructor(readonly send: (messages: readonly T[]) => void) {}

  add(message: T): void {
    this.#held.push(message);
    if (this.#held.length === 1) setImmediate(() => this.flush());
  }

  /** Sends what is held at once. */
  flush(): void {
    if (this.#held.length === 0) return;
    const held = this.#held;
    this.#held = [];
    this.send(held);
  }

  /** Forgets what is held. */
  clear(): void {
    this.#held = [];
  }
}
