/** A parsed JSON or YAML value that remembers where in the text each part stands. */

export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface Entry {
  readonly key: string;
  readonly at: number;
  readonly value: SpecNode;
}

export type SpecNode =
  | { readonly kind: 'object'; readonly at: number; readonly entries: readonly Entry[] }
  | { readonly kind: 'array'; readonly at: number; readonly items: readonly SpecNode[] }
  | { readonly kind: 'string'; readonly at: number; readonly text: string }
  /** The number as written, so that 64-bit integers keep all digits. */
  | { readonly kind: 'number'; readonly at: number; readonly text: string }
  | { readonly kind: 'bool'; readonly at: number; readonly value: boolean }
  | { readonly kind: 'null'; readonly at: number };

export type ObjectNode = Extract<SpecNode, { kind: 'object' }>;

/** Line and column, from 1, of an offset. */
export function placeOf(text: string, at: number): Place {
  const before = text.slice(0, at);
  const line = before.split('\n').length;
  return { line, column: at - before.lastIndexOf('\n') };
}

export function entryOf(node: ObjectNode, key: string): Entry | undefined {
  return node.entries.find((entry) => entry.key === key);
}

/** The plain JSON value. */
export function toPlain(node: SpecNode): unknown {
  switch (node.kind) {
    case 'object':
      return Object.fromEntries(node.entries.map(({ key, value }) => [key, toPlain(value)]));
    case 'array':
      return node.items.map(toPlain);
    case 'string':
      return node.text;
    case 'number':
      return Number(node.text);
    case 'bool':
      return node.value;
    case 'null':
      return null;
    default:
      return null;
  }
}

/** A mistake in the text, with the offset where it was seen. */
export class SpecTextError extends Error {
  override readonly name = 'SpecTextError';
  constructor(
    message: string,
    readonly at: number,
    /** What to do about it, when that is not obvious. */
    readonly hint = '',
  ) {
    super(message);
  }
}
