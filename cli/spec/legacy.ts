/**
 * Spellings of old published specs, rewritten into today's: `atom` inputs, a top-level `inputs`
 * list, `URL` in git inputs, TFJob manifests as objects. Each rewriting is reported once.
 */
import {
  entryOf,
  SpecTextError,
  toPlain,
  type Entry,
  type ObjectNode,
  type SpecNode,
} from './node.js';

/** A spec node without old spellings; `warn` hears what was translated. */
export function modernize(node: SpecNode, warn: (text: string) => void): SpecNode {
  if (node.kind !== 'object') return node;
  const entries = node.entries.flatMap((entry): Entry[] => {
    switch (entry.key) {
      case 'input':
        return [{ ...entry, value: modernInput(entry.value, warn) }];
      case 'inputs':
        warn('"inputs" is an old spelling; write "input" with "pfs" or "cross"');
        return [{ key: 'input', at: entry.at, value: fromInputs(entry.value, warn) }];
      case 'tf_job':
      case 'tfJob':
        return [{ ...entry, value: manifestText(entry.value) }];
      default:
        return [entry];
    }
  });
  return { ...node, entries };
}

const LISTS = new Set(['cross', 'union', 'join', 'group']);

function modernInput(node: SpecNode, warn: (text: string) => void): SpecNode {
  if (node.kind !== 'object') return node;
  const entries = node.entries.map((entry): Entry => {
    if (entry.key === 'atom') {
      warn('"atom" is the old name of "pfs"; write "pfs"');
      return { ...entry, key: 'pfs' };
    }
    if (LISTS.has(entry.key) && entry.value.kind === 'array') {
      const items = entry.value.items.map((item) => modernInput(item, warn));
      return { ...entry, value: { ...entry.value, items } };
    }
    if (entry.key === 'git' && entry.value.kind === 'object') {
      const fields = entry.value.entries.map((field) =>
        field.key === 'URL' ? { ...field, key: 'url' } : field,
      );
      return { ...entry, value: { ...entry.value, entries: fields } };
    }
    return entry;
  });
  return { ...node, entries };
}

/** `[{repo: {name}, glob, …}, …]`: one input stands alone, several are crossed. */
function fromInputs(node: SpecNode, warn: (text: string) => void): SpecNode {
  if (node.kind !== 'array') return node;
  const inputs = node.items.map((item): SpecNode => {
    if (item.kind !== 'object') return item;
    if (item.entries.some(({ key }) => LISTS.has(key) || key === 'pfs' || key === 'atom')) {
      return modernInput(item, warn);
    }
    const fields = item.entries.map((field) => ({ ...field, value: repoName(field) }));
    const value: ObjectNode = { ...item, entries: fields };
    return { kind: 'object', at: item.at, entries: [{ key: 'pfs', at: item.at, value }] };
  });
  const [only] = inputs;
  if (only && inputs.length === 1) return only;
  const cross: SpecNode = { ...node, items: inputs };
  return { kind: 'object', at: node.at, entries: [{ key: 'cross', at: node.at, value: cross }] };
}

function repoName({ key, value }: Entry): SpecNode {
  const name = key === 'repo' && value.kind === 'object' ? entryOf(value, 'name') : undefined;
  return name?.value ?? value;
}

function manifestText(node: SpecNode): SpecNode {
  if (node.kind !== 'object' || entryOf(node, 'tf_job') || entryOf(node, 'tfJob')) return node;
  const kind = entryOf(node, 'kind')?.value;
  if (kind?.kind !== 'string' || kind.text !== 'TFJob') {
    throw new SpecTextError(
      'tf_job must contain a kubernetes manifest for a Kubeflow TFJob',
      node.at,
    );
  }
  const text: SpecNode = { kind: 'string', at: node.at, text: JSON.stringify(toPlain(node)) };
  return { kind: 'object', at: node.at, entries: [{ key: 'tf_job', at: node.at, value: text }] };
}
