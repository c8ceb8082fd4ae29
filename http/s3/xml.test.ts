import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { S3Error } from './s3-error.js';
import { childText, document, parseXml, tag } from './xml.js';

const code = (source: string): string => {
  try {
    parseXml(source);
    return 'fine';
  } catch (error) {
    return error instanceof S3Error ? error.code : String(error);
  }
};

describe('xml', () => {
  it('reads back what it writes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const root = parseXml(document('Root', [tag('Key', text), undefined, tag('Other', 1)]));
        expect(root.name).toBe('Root');
        expect(childText(root, 'Key')).toBe(text);
        expect(childText(root, 'Other')).toBe('1');
        expect(childText(root, 'None')).toBeUndefined();
      }),
    );
  });

  it('reads what clients send', () => {
    const source =
      '\uFEFF<?xml version="1.0"?>\n<!-- hi --><s3:Delete xmlns:s3="http://x/"><s3:Quiet>true</s3:Quiet>' +
      "<Object a='1'><Key><![CDATA[a<b]]>&amp;&#65;&#x42;</Key></Object><Empty/></s3:Delete>\n";
    const root = parseXml(source);
    expect(root.name).toBe('Delete');
    expect(childText(root, 'Quiet')).toBe('true');
    const [, object] = root.children;
    expect(object && childText(object, 'Key')).toBe('a<b&AB');
  });

  it('refuses everything else', () => {
    for (const source of [
      '',
      'text',
      '<a>',
      '<a></b>',
      '<a/><b/>',
      '<a>&unknown;</a>',
      '<a>&#x110000;</a>',
      '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
      '<a b></a>',
      `${'<a>'.repeat(40)}${'</a>'.repeat(40)}`,
    ]) {
      expect(code(source)).toBe('MalformedXML');
    }
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(['fine', 'MalformedXML']).toContain(code(`<a>${text}</a>`));
      }),
    );
  });
});
