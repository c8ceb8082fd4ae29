/** Looks up message shapes by name; parsed from the short text on first use. */
import { SCHEMA_TEXT } from './schema-text.js';

export interface Field {
  /** As in the .proto file. */
  readonly name: string;
  /** lowerCamelCase: the JSON name, and the property of generated types. */
  readonly camel: string;
  readonly type: string;
  readonly repeated: boolean;
  /** Key type of a map field. */
  readonly mapKey: string | undefined;
}

export interface Message {
  readonly name: string;
  readonly fields: readonly Field[];
  /** By either spelling. */
  readonly byName: ReadonlyMap<string, Field>;
}

export interface Enumeration {
  readonly name: string;
  readonly numbers: ReadonlyMap<string, number>;
  readonly names: ReadonlyMap<number, string>;
}

export interface Schema {
  readonly messages: ReadonlyMap<string, Message>;
  readonly enums: ReadonlyMap<string, Enumeration>;
}

let parsed: Schema | undefined;

export function schema(): Schema {
  return (parsed ??= parseSchema(SCHEMA_TEXT));
}

export function toCamel(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_all, letter: string) => letter.toUpperCase());
}

function parseSchema(text: string): Schema {
  const messages = new Map<string, Message>();
  const enums = new Map<string, Enumeration>();
  const lines = text
    .trim()
    .replace(/\n {2}/g, ' ')
    .split('\n');
  for (const line of lines) {
    const colon = line.indexOf(':');
    const head = line.slice(0, colon);
    const body = line.slice(colon + 1).trim();
    if (head.startsWith('enum ')) {
      const numbers = new Map(
        body.split(' ').map((pair) => {
          const [name = '', number = '0'] = pair.split('=');
          return [name, Number(number)];
        }),
      );
      const names = new Map([...numbers].map(([name, number]) => [number, name]));
      enums.set(head.slice(5), { name: head.slice(5), numbers, names });
    } else {
      const fields = body === '' ? [] : body.split('; ').map(parseField);
      const byName = new Map(
        fields.flatMap((field) => [
          [field.name, field],
          [field.camel, field],
        ]),
      );
      messages.set(head, { name: head, fields, byName });
    }
  }
  return { messages, enums };
}

function parseField(text: string): Field {
  const space = text.indexOf(' ');
  const name = text.slice(0, space);
  const spelled = text.slice(space + 1);
  const map = /^map<([^,]+),(.+)>$/.exec(spelled);
  const repeated = spelled.endsWith('*');
  const type = map ? (map[2] as string) : repeated ? spelled.slice(0, -1) : spelled;
  return { name, camel: toCamel(name), type, repeated, mapKey: map?.[1] };
}
