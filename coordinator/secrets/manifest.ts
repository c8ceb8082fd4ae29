/** The JSON of a v1 Secret as people write it, checked. */
import type { AppError } from '../../core/errors.js';
import { invalidInput, messageOf } from '../../core/errors.js';

export interface SecretManifest {
  readonly name: string;
  readonly type: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Key → base64. */
  readonly data: Readonly<Record<string, string>>;
}

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const NAME_CHARS_MAX = 253;
const KEY = /^[-._a-zA-Z0-9]{1,253}$/;
const BYTES_MAX = 1024 * 1024;
const SUITE = 'pachyderm';

/** Throws INVALID_INPUT with the texts of the v1 API. */
export function parseManifest(file: Uint8Array): SecretManifest {
  const root = unmarshal(Buffer.from(file).toString('utf8'));
  const metadata = mapOf(root['metadata'], 'metadata');
  const labels = texts(metadata['labels'], 'metadata.labels');
  const suite = labels['suite'];
  if (suite !== undefined && suite !== SUITE) {
    throw invalidInput(`invalid suite label set on secret: suite=${suite}`);
  }
  const name = typeof metadata['name'] === 'string' ? metadata['name'] : '';
  if (name.length > NAME_CHARS_MAX || !NAME.test(name)) {
    throw refused(`metadata.name "${name}": lower case letters, digits, '-' and '.' are allowed`);
  }
  const data = dataOf(root);
  return {
    name,
    type: typeof root['type'] === 'string' && root['type'] !== '' ? root['type'] : 'Opaque',
    labels: { ...labels, suite: SUITE, 'secret-source': 'pachyderm-user' },
    data,
  };
}

function unmarshal(text: string): Record<string, unknown> {
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (error) {
    throw invalidInput(`failed to unmarshal secret: ${messageOf(error)}`);
  }
  return mapOf(root, 'the secret');
}

function dataOf(root: Record<string, unknown>): Record<string, string> {
  const data: Record<string, string> = {};
  for (const [key, value] of Object.entries(texts(root['data'], 'data'))) {
    const clean = value.replace(/\s/g, '');
    if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(clean)) {
      throw invalidInput(`failed to unmarshal secret: data.${key}: illegal base64 data`);
    }
    data[key] = clean;
  }
  for (const [key, value] of Object.entries(texts(root['stringData'], 'stringData'))) {
    data[key] = Buffer.from(value).toString('base64');
  }
  let bytes = 0;
  for (const [key, value] of Object.entries(data)) {
    if (!KEY.test(key) || key === '.' || key.startsWith('..')) {
      throw refused(`data key "${key}": letters, digits, '-', '_' and '.' are allowed`);
    }
    bytes += key.length + value.length;
  }
  if (bytes > BYTES_MAX) throw refused(`its data has ${bytes} bytes, at most ${BYTES_MAX} may be`);
  return data;
}

function mapOf(value: unknown, what: string): Record<string, unknown> {
  if (value === undefined || value === null) return {};
  if (typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>;
  throw invalidInput(`failed to unmarshal secret: ${what} is not an object`);
}

function texts(value: unknown, what: string): Record<string, string> {
  const map = mapOf(value, what);
  for (const [key, text] of Object.entries(map)) {
    if (typeof text === 'string') continue;
    throw invalidInput(`failed to unmarshal secret: ${what}.${key} is not a string`);
  }
  return map as Record<string, string>;
}

function refused(why: string): AppError {
  return invalidInput(`failed to create secret: ${why}`);
}
