/**
 * PutFileRequest messages built in place: the file's bytes are read straight into the message that
 * goes on the wire, so a byte is not copied on the way from disk to gRPC.
 *
 * A message is [file 1][options][value 3]; the options are the same for every file of a call.
 */
import { PutFileRequest, type Commit } from '../../proto/generated/pfs.js';

const FILE_TAG = 0x0a;
const PATH_TAG = 0x12;
const VALUE_TAG = 0x1a;
const NO_BYTES = Buffer.alloc(0);

export interface PutOptions {
  readonly delimiter: number;
  readonly targetFileDatums: number;
  readonly targetFileBytes: number;
  readonly headerRecords: number;
  readonly overwrite: boolean;
  readonly link?: boolean;
}

/** A message with room for a value: read into `value`, then take `sealed(length)`. */
export interface Frame {
  readonly value: Buffer;
  /** The finished message for the first `length` bytes of `value`. */
  sealed(length: number): Buffer;
}

export class FrameMaker {
  readonly #commitField: Buffer;
  readonly #optionBytes: Buffer;

  constructor(commit: Commit, options: PutOptions) {
    // A File with only its commit encodes to exactly the commit field.
    this.#commitField = tail(
      PutFileRequest.encode(request({ file: { commit, path: '' } })).finish(),
    );
    this.#optionBytes = Buffer.from(
      PutFileRequest.encode(
        request({
          delimiter: options.delimiter,
          targetFileDatums: options.targetFileDatums,
          targetFileBytes: options.targetFileBytes,
          headerRecords: options.headerRecords,
          link: options.link ?? false,
          ...(options.overwrite ? { overwriteIndex: { index: 0 } } : {}),
        }),
      ).finish(),
    );
  }

  /** The first message of a file, with room for `room` bytes of it. */
  first(path: string, room: number): Frame {
    const pathBytes = Buffer.byteLength(path);
    const fileBytes = this.#commitField.length + 1 + varintBytes(pathBytes) + pathBytes;
    const head = 1 + varintBytes(fileBytes) + fileBytes + this.#optionBytes.length;
    const buffer = Buffer.allocUnsafe(head + MAX_HEAD + room);
    let at = 0;
    buffer[at++] = FILE_TAG;
    at = putVarint(buffer, at, fileBytes);
    at += this.#commitField.copy(buffer, at);
    buffer[at++] = PATH_TAG;
    at = putVarint(buffer, at, pathBytes);
    at += buffer.write(path, at);
    at += this.#optionBytes.copy(buffer, at);
    return frame(buffer, at, room);
  }

  /** A further message of the current file. */
  next(room: number): Frame {
    return frame(Buffer.allocUnsafe(MAX_HEAD + room), 0, room);
  }

  /** A file the server fetches by itself. */
  url(path: string, url: string, recursive: boolean): Buffer {
    const rest = PutFileRequest.encode(request({ url, recursive })).finish();
    return Buffer.concat([this.first(path, 0).sealed(0), rest]);
  }

  /** Proves that the upload ended on purpose. */
  end(): Buffer {
    return Buffer.from(PutFileRequest.encode(request({ end: true })).finish());
  }
}

/** Tag and length of a value of up to 2^28 bytes. */
const MAX_HEAD = 5;

/** The value stands at a fixed place; its tag and length are right-aligned before it. */
function frame(buffer: Buffer, head: number, room: number): Frame {
  const start = head + MAX_HEAD;
  return {
    value: buffer.subarray(start, start + room),
    sealed(length) {
      if (length === 0) return buffer.subarray(0, head);
      const size = 1 + varintBytes(length);
      // Move what stands before the value next to its shorter length.
      const gap = MAX_HEAD - size;
      if (gap > 0 && head > 0) buffer.copyWithin(gap, 0, head);
      const at = head + gap;
      buffer[at] = VALUE_TAG;
      putVarint(buffer, at + 1, length);
      return buffer.subarray(gap, start + length);
    },
  };
}

function request(fields: Partial<PutFileRequest>): PutFileRequest {
  return { ...PutFileRequest.fromPartial({ value: NO_BYTES }), ...fields };
}

/** Strips the outer tag and length of a one-field message. */
function tail(message: Uint8Array): Buffer {
  let at = 1;
  while ((message[at] as number) >= 128) at += 1;
  return Buffer.from(message.subarray(at + 1));
}

function varintBytes(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size += 1;
  return size;
}

function putVarint(buffer: Buffer, at: number, value: number): number {
  let rest = value;
  let to = at;
  while (rest >= 128) {
    buffer[to++] = (rest % 128) | 128;
    rest = Math.floor(rest / 128);
  }
  buffer[to++] = rest;
  return to;
}
