/**
 * Closes what was opened, in reverse order, also when opening fails halfway.
 * Node 20 has no AsyncDisposableStack; this is the part of it that we need.
 */
export class ResourceStack implements AsyncDisposable {
  #closers: (() => unknown)[] = [];

  /** Takes ownership of a disposable and returns it. */
  use<T extends AsyncDisposable | Disposable>(resource: T): T {
    this.#closers.push(() =>
      Symbol.asyncDispose in resource
        ? resource[Symbol.asyncDispose]()
        : resource[Symbol.dispose](),
    );
    return resource;
  }

  /** Runs `closer` when the stack is closed. */
  defer(closer: () => unknown): void {
    this.#closers.push(closer);
  }

  /** Hands everything over to a new stack; this one becomes empty. */
  move(): ResourceStack {
    const next = new ResourceStack();
    next.#closers = this.#closers;
    this.#closers = [];
    return next;
  }

  /** Idempotent. Every closer runs; the first error is thrown with the others as its cause. */
  async [Symbol.asyncDispose](): Promise<void> {
    const errors: unknown[] = [];
    for (let closer = this.#closers.pop(); closer; closer = this.#closers.pop()) {
      try {
        await closer();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, 'several resources failed to close');
  }
}
