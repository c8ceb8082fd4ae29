/** Answers of GetFile: our codec hands out the bytes themselves, the generated one a wrapper. */

const EMPTY = Buffer.alloc(0);

export function asBytes(message: unknown): Buffer {
  if (Buffer.isBuffer(message)) return message;
  const value = (message as { value?: Uint8Array } | undefined)?.value;
  return value ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : EMPTY;
}
