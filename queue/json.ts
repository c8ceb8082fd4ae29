/** Message bodies are JSON. */

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encode(value: unknown): Uint8Array {
  return encodeText(JSON.stringify(value));
}

export function encodeText(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Throws SyntaxError for bytes that are no JSON; the shape is the sender's promise. */
export function decode<T>(bytes: Uint8Array): T {
  return JSON.parse(decodeText(bytes)) as T;
}

export function decodeText(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
