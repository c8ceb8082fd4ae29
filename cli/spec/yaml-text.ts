/** Reads YAML documents into the same positioned values as JSON. */
import { isAlias, isMap, isScalar, isSeq, parseAllDocuments, type Document } from 'yaml';
import { SpecTextError, type Entry, type SpecNode } from './node.js';

/** The non-empty documents of a text. Throws SpecTextError at the first mistake. */
export function parseYamlDocuments(text: string): SpecNode[] {
  const documents = parseAllDocuments(text, { intAsBigInt: true, merge: true });
  if (!Array.isArray(documents)) return [];
  return (documents as Document.Parsed[]).flatMap((document) => {
    const [error] = document.errors;
    if (error) {
      const [first = error.message] = error.message.split('\n');
      throw new SpecTextError(
        `could not parse yaml: ${first.replace(/ at line \d+, column \d+:?$/, '')}`,
        error.pos[0],
      );
    }
    if (document.contents === null) return [];
    return [toNode(document.contents, document)];
  });
}

function toNode(node: unknown, document: Document.Parsed): SpecNode {
  if (isAlias(node)) return toNode(node.resolve(document), document);
  if (isMap(node)) {
    const entries = node.items.map((pair): Entry => {
      const at = startOf(pair.key);
      const key = isScalar(pair.key) ? String(pair.key.value) : '';
      return { key, at, value: toNode(pair.value, document) };
    });
    return { kind: 'object', at: startOf(node), entries };
  }
  if (isSeq(node)) {
    const items = node.items.map((item) => toNode(item, document));
    return { kind: 'array', at: startOf(node), items };
  }
  return scalarNode(isScalar(node) ? node.value : null, startOf(node));
}

function scalarNode(value: unknown, at: number): SpecNode {
  if (value === null || value === undefined) return { kind: 'null', at };
  if (typeof value === 'boolean') return { kind: 'bool', at, value };
  if (typeof value === 'number' || typeof value === 'bigint') {
    return { kind: 'number', at, text: String(value) };
  }
  return { kind: 'string', at, text: value instanceof Date ? value.toISOString() : String(value) };
}

function startOf(node: unknown): number {
  return (node as { range?: readonly number[] } | null | undefined)?.range?.[0] ?? 0;
}
