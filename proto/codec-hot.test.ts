import fc from 'fast-check';
import { expect, it } from 'vitest';
import { BytesValue } from './generated/google/protobuf/wrappers.js';
import { Delimiter, PutFileRequest } from './generated/pfs.js';
import {
  decodeBytesValue,
  decodePutFileRequest,
  encodeBytesValue,
  encodePutFileRequest,
} from './codec-hot.js';

const bytes = fc.uint8Array({ maxLength: 5_000 }).map((array) => Buffer.from(array));

const requests = fc
  .record({
    value: bytes,
    url: fc.string(),
    recursive: fc.boolean(),
    delimiter: fc.constantFrom(Delimiter.NONE, Delimiter.LINE),
    targetFileDatums: fc.nat(),
    headerRecords: fc.nat(),
    path: fc.option(fc.string(), { nil: undefined }),
    end: fc.boolean(),
  })
  .map(({ path, ...rest }) =>
    PutFileRequest.fromPartial({ ...rest, ...(path === undefined ? {} : { file: { path } }) }),
  );

it('agrees with the generated codec both ways for PutFileRequest', () => {
  fc.assert(
    fc.property(requests, (request) => {
      const wire = Buffer.from(PutFileRequest.encode(request).finish());
      expect(decodePutFileRequest(wire)).toEqual(request);
      expect(PutFileRequest.decode(encodePutFileRequest(request))).toEqual(request);
    }),
  );
});

it('agrees with the generated codec both ways for BytesValue', () => {
  fc.assert(
    fc.property(bytes, (value) => {
      expect(decodeBytesValue(Buffer.from(BytesValue.encode({ value }).finish()))).toEqual(value);
      expect(BytesValue.decode(encodeBytesValue(value)).value).toEqual(value);
    }),
  );
});

it('refuses a message cut in the middle', () => {
  const wire = encodePutFileRequest(PutFileRequest.fromPartial({ value: Buffer.alloc(4_000, 1) }));
  expect(() => decodePutFileRequest(wire.subarray(0, 2_000))).toThrow(/ends in the middle/);
});
