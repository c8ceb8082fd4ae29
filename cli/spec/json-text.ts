/**
 * Reads JSON values written one after another. Written by hand for two reasons: several values in
 * one text, and errors that name the place and use the words of Go's decoder, which scripts match.
 */
import { SpecTextError, type Entry, type SpecNode } from './node.js';

const DEPTH_MAX = 200;

/** All top-level values of a text. Throws SpecTextError at the first mistake. */
export function parseJsonStream(text: string): SpecNode[] {
  const reader = new Reader(text);
  const values: SpecNode[] = [];
  for (reader.skipSpace(); !reader.atEnd(); reader.skipSpace()) values.push(reader.value(0));
  return values;
}

class Reader {
  #at = 0;
  constructor(readonly text: string) {}

  atEnd(): boolean {
    return this.#at >= this.text.length;
  }

  skipSpace(): void {
    while (!this.atEnd() && ' \t\r\n'.includes(this.text[this.#at] as string)) this.#at += 1;
  }

  value(depth: number): SpecNode {
    if (depth > DEPTH_MAX) throw new SpecTextError('exceeded max depth', this.#at);
    this.skipSpace();
    const at = this.#at;
    const char = this.#peek();
    if (char === '{') return this.#object(depth);
    if (char === '[') return this.#array(depth);
    if (char === '"') return { kind: 'string', at, text: this.#string() };
    if (char === 't' || char === 'f') {
      this.#literal(char === 't' ? 'true' : 'false');
      return { kind: 'bool', at, value: char === 't' };
    }
    if (char === 'n') {
      this.#literal('null');
      return { kind: 'null', at };
    }
    if (char === '-' || isDigit(char)) return { kind: 'number', at, text: this.#number() };
    throw this.#unexpected('looking for beginning of value');
  }

  #object(depth: number): SpecNode {
    const at = this.#at;
    this.#at += 1;
    const entries: Entry[] = [];
    this.skipSpace();
    if (this.#peek() === '}') {
      this.#at += 1;
      return { kind: 'object', at, entries };
    }
    for (;;) {
      this.skipSpace();
      const keyAt = this.#at;
      if (this.#peek() !== '"')
        throw this.#unexpected('looking for beginning of object key string');
      const key = this.#string();
      this.skipSpace();
      if (this.#peek() !== ':') throw this.#unexpected('after object key');
      this.#at += 1;
      entries.push({ key, at: keyAt, value: this.value(depth + 1) });
      this.skipSpace();
      const next = this.#peek();
      if (next === '}') break;
      if (next !== ',') throw this.#unexpected('after object key:value pair');
      this.#at += 1;
    }
    this.#at += 1;
    return { kind: 'object', at, entries };
  }

  #array(depth: number): SpecNode {
    const at = this.#at;
    this.#at += 1;
    const items: SpecNode[] = [];
    this.skipSpace();
    if (this.#peek() === ']') {
      this.#at += 1;
      return { kind: 'array', at, items };
    }
    for (;;) {
      items.push(this.value(depth + 1));
      this.skipSpace();
      const next = this.#peek();
      if (next === ']') break;
      if (next !== ',') throw this.#unexpected('after array element');
      this.#at += 1;
    }
    this.#at += 1;
    return { kind: 'array', at, items };
  }

  #string(): string {
    const start = this.#at;
    this.#at += 1;
    for (let char = this.#peek(); char !== '"'; char = this.#peek()) {
      if (char < ' ') throw this.#unexpected('in string literal');
      if (char === '\\') {
        this.#at += 1;
        const escape = this.#peek();
        if (!'"\\/bfnrtu'.includes(escape)) throw this.#unexpected('in string escape code');
        if (escape === 'u') this.#hexDigits();
      }
      this.#at += 1;
    }
    this.#at += 1;
    return JSON.parse(this.text.slice(start, this.#at)) as string;
  }

  #hexDigits(): void {
    for (let digit = 0; digit < 4; digit += 1) {
      this.#at += 1;
      if (!/[0-9a-fA-F]/.test(this.#peek())) {
        throw this.#unexpected('in \\u hexadecimal character escape');
      }
    }
  }

  #literal(word: string): void {
    for (const expected of word) {
      if (this.#peek() !== expected) {
        throw this.#unexpected(`in literal ${word} (expecting '${expected}')`);
      }
      this.#at += 1;
    }
  }

  #number(): string {
    const start = this.#at;
    const match = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/.exec(
      this.text.slice(start, start + 400),
    );
    if (!match) {
      this.#at += 1;
      throw this.#unexpected('in numeric literal');
    }
    this.#at += match[0].length;
    return match[0];
  }

  /** The current character; the end of the text is an error here. */
  #peek(): string {
    const char = this.text[this.#at];
    if (char === undefined) {
      throw new SpecTextError('unexpected EOF', this.#at, 'the text ends before the value does');
    }
    return char;
  }

  #unexpected(where: string): SpecTextError {
    const char = this.text[this.#at];
    if (char === undefined) return new SpecTextError('unexpected EOF', this.#at);
    const shown = char === "'" ? "'\\''" : `'${JSON.stringify(char).slice(1, -1)}'`;
    return new SpecTextError(`invalid character ${shown} ${where}`, this.#at);
  }
}

function isDigit(char: string): boolean {
  return char >= '0' && char <= '9';
}
