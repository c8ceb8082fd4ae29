/**
 * The little XML that S3 speaks. Writing is by nested elements; reading takes elements and text
 * only: no document types, so nothing in a body can make us fetch or expand anything.
 */
import { malformedXml } from './s3-error.js';

export const S3_NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/';

/** Text that is XML already. */
export interface Xml {
  readonly xml: string;
}

export type XmlContent = string | number | boolean | Xml | readonly (Xml | undefined)[];

/** One element. Text is escaped; undefined children are left out. */
export function tag(name: string, content: XmlContent = ''): Xml {
  return { xml: `<${name}>${inner(content)}</${name}>` };
}

/** An element that is left out when there is nothing to say. */
export function optional(name: string, content: string | number | undefined): Xml | undefined {
  return content === undefined ? undefined : tag(name, content);
}

/** A whole document. */
export function document(name: string, content: XmlContent, namespace = S3_NAMESPACE): string {
  return `${XML_DECLARATION}${root(name, content, namespace)}`;
}

export const XML_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n';

/** The root element without the declaration. */
export function root(name: string, content: XmlContent, namespace = S3_NAMESPACE): string {
  const attribute = namespace === '' ? '' : ` xmlns="${namespace}"`;
  return `<${name}${attribute}>${inner(content)}</${name}>`;
}

function inner(content: XmlContent): string {
  if (typeof content === 'object') {
    if ('xml' in content) return content.xml;
    return content.map((child) => child?.xml ?? '').join('');
  }
  return escapeXml(String(content));
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
};

/** Control characters become references, as S3 itself writes them. */
export function escapeXml(text: string): string {
  return text.replace(
    /[&<>"]|[\x00-\x1f\x7f]/g,
    (char) => ESCAPES[char] ?? `&#x${char.charCodeAt(0).toString(16).toUpperCase()};`,
  );
}

export interface XmlElement {
  /** Without namespace prefix. */
  readonly name: string;
  readonly children: readonly XmlElement[];
  /** The text directly inside, untrimmed. */
  readonly text: string;
}

interface Open {
  readonly qualified: string;
  readonly children: XmlElement[];
  text: string;
}

const DEPTH_MAX = 16;
const TOKEN =
  /<!--[\s\S]*?-->|<\?[\s\S]*?\?>|<!\[CDATA\[([\s\S]*?)\]\]>|<(\/?)([A-Za-z_][\w.:-]*)((?:\s+[\w.:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>|([^<]+)/gy;

/** Reads a document. Throws MalformedXML. */
export function parseXml(source: string): XmlElement {
  const top: Open = { qualified: '', children: [], text: '' };
  const stack: Open[] = [top];
  const text = source.replace(/^\uFEFF/, '');
  const token = new RegExp(TOKEN);
  let at = 0;
  while (at < text.length) {
    token.lastIndex = at;
    const found = token.exec(text);
    if (!found) throw malformedXml(`unexpected text at character ${at}`);
    at = token.lastIndex;
    const [, cdata, closing, name, , selfClosing, plain] = found;
    const current = stack[stack.length - 1] as Open;
    if (cdata !== undefined) current.text += cdata;
    else if (plain !== undefined) current.text += unescapeXml(plain);
    else if (name !== undefined && closing === '/') close(stack, name);
    else if (name !== undefined) {
      if (stack.length > DEPTH_MAX) throw malformedXml('elements are nested too deeply');
      stack.push({ qualified: name, children: [], text: '' });
      if (selfClosing === '/') close(stack, name);
    }
  }
  const [only, second] = top.children;
  if (stack.length > 1 || !only || second || top.text.trim() !== '') {
    throw malformedXml('expected exactly one complete element');
  }
  return only;
}

function close(stack: Open[], name: string): void {
  const open = stack.pop() as Open;
  const parent = stack[stack.length - 1];
  if (!parent || open.qualified !== name) throw malformedXml(`unexpected end of <${name}>`);
  const { children, text } = open;
  parent.children.push({ name: name.slice(name.indexOf(':') + 1), children, text });
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
};

function unescapeXml(text: string): string {
  return text.replace(/&([^;]{0,12});?/g, (whole, name: string) => {
    const number = /^#(?:x([0-9a-fA-F]{1,6})|(\d{1,7}))$/.exec(name);
    const code = number ? Number.parseInt(number[1] ?? number[2] ?? '', number[1] ? 16 : 10) : NaN;
    const char = code <= 0x10ffff ? String.fromCodePoint(code) : ENTITIES[name];
    if (char === undefined || !whole.endsWith(';')) throw malformedXml(`bad reference ${whole}`);
    return char;
  });
}

/** The text of a child, or undefined when it is not there. */
export function childText(element: XmlElement, name: string): string | undefined {
  return element.children.find((child) => child.name === name)?.text;
}
