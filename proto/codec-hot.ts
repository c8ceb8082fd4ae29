/**
 * Hand-written codecs for the two messages that carry file bytes. The generated ones copy the
 * payload twice; these copy it once (encode) or not at all (decode). Measured on one core: see
 * docs/benchmarks.md. Everything but the payload still goes through the generated code.
 */
import { invalidInput } from '../core/errors.js';
import { PutFileRequest } from './generated/pfs.js';

/** `PutFileRequest.value` is field 3, length-delimited. */
const VALUE_TAG = (3 << 3) | 2;
const NO_BYTES = Buffer.alloc(0);

/** Decodes a PutFileRequest; `value` is a view into the message, not a copy. */
export function decodePutFileRequest(message: Buffer): PutFileRequest {
  const at = { pos: 0 };
  const rest: Buffer[] = [];
  let value: Buffer = NO_BYTES;
  let kept = 0;
  while (at.pos < message.length) {
    const start = at.pos;
    const tag = varint(message, at);
    if (tag === VALUE_TAG) {
      const length = varint(message, at);
      if (length > message.length - at.pos) throw truncated();
      if (start > kept) rest.push(message.subarray(kept, start));
      value = message.subarray(at.pos, at.pos + length);
      at.pos += length;
      kept = at.pos;
    } else skip(message, at, tag & 7);
  }
  if (kept < message.length) rest.push(message.subarray(kept));
  const [only] = rest;
  const fields = rest.length === 1 && only ? only : Buffer.concat(rest);
  const request =
    fields.length === 0 ? PutFileRequest.fromPartial({}) : PutFileRequest.decode(fields);
  request.value = value;
  return request;
}

/** Encodes a PutFileRequest, copying `value` once. */
export function encodePutFileRequest(request: PutFileRequest): Buffer {
  const { value } = request;
  if (value.length < 1024) return Buffer.from(PutFileRequest.encode(request).finish());
  const fields = PutFileRequest.encode({ ...request, value: NO_BYTES }).finish();
  return prefixed(VALUE_TAG, value, fields);
}

/** Encodes google.protobuf.BytesValue, copying once. */
export function encodeBytesValue(value: Buffer | undefined): Buffer {
  return value === undefined || value.length === 0 ? NO_BYTES : prefixed((1 << 3) | 2, value);
}

/** Decodes google.protobuf.BytesValue as a view into the message. */
export function decodeBytesValue(message: Buffer): Buffer {
  const at = { pos: 0 };
  let value: Buffer = NO_BYTES;
  while (at.pos < message.length) {
    const tag = varint(message, at);
    if (tag === ((1 << 3) | 2)) {
      const length = varint(message, at);
      if (length > message.length - at.pos) throw truncated();
      value = message.subarray(at.pos, at.pos + length);
      at.pos += length;
    } else skip(message, at, tag & 7);
  }
  return value;
}

function prefixed(tag: number, value: Uint8Array, tail: Uint8Array = NO_BYTES): Buffer {
  const head = [tag];
  for (let rest = value.length; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) {
      head.push(rest);
      break;
    }
    head.push((rest % 128) | 128);
  }
  const out = Buffer.allocUnsafe(head.length + value.length + tail.length);
  out.set(head, 0);
  out.set(value, head.length);
  out.set(tail, head.length + value.length);
  return out;
}

function varint(message: Buffer, at: { pos: number }): number {
  let value = 0;
  for (let shift = 1; ; shift *= 128) {
    const byte = message[at.pos];
    if (byte === undefined || shift > 2 ** 63) throw truncated();
    at.pos += 1;
    value += (byte & 127) * shift;
    if (byte < 128) return value;
  }
}

function skip(message: Buffer, at: { pos: number }, wire: number): void {
  if (wire === 0) varint(message, at);
  else if (wire === 1) at.pos += 8;
  else if (wire === 2) {
    const length = varint(message, at);
    at.pos += length;
  } else if (wire === 5) at.pos += 4;
  else throw invalidInput(`malformed message: wire type ${wire}`);
  if (at.pos > message.length) throw truncated();
}

function truncated(): Error {
  return invalidInput('malformed message: it ends in the middle of a field');
}
