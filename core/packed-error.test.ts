import { expect, it } from 'vitest';
import { corruptData, wrap } from './errors.js';
import { packError, unpackError } from './packed-error.js';

/** There and back through the copy that a thread's message is. */
const sent = (error: unknown) => unpackError(structuredClone(packError(error)));

it('keeps code, text and fields of an error', () => {
  const there = sent(corruptData('object x is damaged', { fields: { key: 'x', size: 3n } }));
  expect(there).toMatchObject({ code: 'CORRUPT_DATA', fields: { key: 'x', size: 3n } });
  expect(there.message).toBe('object x is damaged');
});

it('keeps the code that an error has from its cause', () => {
  const there = sent(wrap('reading /a', corruptData('damaged')));
  expect([there.code, there.message]).toEqual(['CORRUPT_DATA', 'reading /a: damaged']);
});

it('makes errors of whatever was thrown', () => {
  expect(sent(new TypeError('no function'))).toMatchObject({ code: 'INTERNAL', fields: {} });
  expect(sent('words').message).toBe('words');
});
