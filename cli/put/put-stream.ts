/**
 * One PutFile call: sends finished messages, waits while too much is in flight, and ends with the
 * marker that proves the end. A failure anywhere cancels the call, so that nothing is stored.
 *
 * P1  At most BYTES_MAX bytes and the stream's own high-water mark of messages are in flight.
 * P2  After the server has answered, nothing more is read or sent.
 */
import { status, type ClientWritableStream, type ServiceError } from '@grpc/grpc-js';
import { addAbortListener } from '../../core/signals.js';
import { PfsService } from '../../proto/services.js';
import { END_MARKER } from '../../proto/streams.js';
import type { Client } from '../client/client.js';

const BYTES_MAX = 32 * 1024 * 1024;

/** An upload that may need several calls: the id all of them carry, and where this one goes on. */
export interface UploadPart {
  readonly id: string;
  readonly at?: { readonly files: number; readonly bytes: number } | undefined;
  /** An earlier call has reached the server. */
  readonly again?: boolean;
}

/** The connection was there and is gone: what the server has received may still be there. */
export class BrokenOff extends Error {
  override readonly name = 'BrokenOff';

  constructor(readonly reason: Error) {
    super(reason.message, { cause: reason });
  }
}

/** Not for a server that never took the connection, or answers UNAVAILABLE itself. */
function brokeOff({ code, details, metadata }: ServiceError, again = false): boolean {
  if (code !== status.UNAVAILABLE || metadata.get('tusk-code').length > 0) return false;
  return again || !/No connection established|Name resolution|ECONNREFUSED/.test(details);
}

export class PutStream {
  readonly #client: Client;
  readonly #call: ClientWritableStream<Buffer>;
  readonly #answer: Promise<void>;
  readonly #stop: () => void;
  #failure: Error | undefined;
  #answered = false;
  #bytes = 0;
  #wake: (() => void) | undefined;

  /** Without a part the upload ends with its connection. */
  constructor(client: Client, part?: UploadPart) {
    this.#client = client;
    const metadata = client.metadata();
    metadata.set(END_MARKER, '1');
    if (part) metadata.set('tusk-upload', part.id);
    const { at } = part ?? {};
    if (at) metadata.set('tusk-upload-at', `${at.files}/${at.bytes}`);
    const { path, responseDeserialize } = PfsService.putFile;
    let settle: { resolve: () => void; reject: (error: Error) => void } | undefined;
    this.#answer = new Promise((resolve, reject) => (settle = { resolve, reject }));
    this.#answer.catch(() => undefined);
    // The messages are encoded already; see frames.ts.
    this.#call = client.pfs.makeClientStreamRequest(
      path,
      (message: Buffer) => message,
      responseDeserialize,
      metadata,
      (error: ServiceError | null) => {
        this.#answered = true;
        if (error) {
          this.#failure ??= brokeOff(error, part?.again)
            ? new BrokenOff(client.translate(error))
            : client.translate(error);
          settle?.reject(this.#failure);
        } else settle?.resolve();
        this.#wake?.();
      },
    );
    this.#call.on('drain', () => this.#wake?.());
    this.#stop = addAbortListener(client.signal, () => this.#call.cancel());
  }

  /** Sends a message; a promise when the caller must wait before the next one. */
  send(message: Buffer): Promise<void> | undefined {
    if (this.#answered) return this.#refuse();
    this.#bytes += message.length;
    const room = this.#call.write(message, () => {
      this.#bytes -= message.length;
      if (this.#bytes < BYTES_MAX) this.#wake?.();
    });
    return room && this.#bytes < BYTES_MAX ? undefined : this.#wait();
  }

  /** Ends the upload on purpose and waits for the server's answer. */
  async finish(end: Buffer): Promise<void> {
    try {
      if (!this.#answered) {
        this.#call.write(end);
        this.#call.end();
      }
      await this.#answer;
    } finally {
      this.#stop();
    }
  }

  /** Breaks the call off; the server stores nothing of it unless a further call goes on with it. */
  cancel(): void {
    this.#stop();
    this.#call.cancel();
  }

  /** The server answered before the end: with its error, or (never by ours) with success. */
  async #refuse(): Promise<void> {
    await this.#answer;
    throw this.#client.translate(new Error('the server ended the upload before its end'));
  }

  async #wait(): Promise<void> {
    while (!this.#answered && (this.#bytes >= BYTES_MAX || this.#call.writableNeedDrain)) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
    if (this.#failure) throw this.#failure;
  }
}
