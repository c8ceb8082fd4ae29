/**
 * The stream rules of proto/streams.ts against a real server and real sockets: an upload that stops
 * is not an upload that ended, failures reach the client, windows are wide.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Metadata, status, type ServiceError } from '@grpc/grpc-js';
import { systemClock } from '../../core/clock.js';
import { invalidInput } from '../../core/errors.js';
import { silentLog } from '../../core/log.js';
import { openGrpcServer, service, type GrpcServer } from '../../coordinator/server.js';
import { CLIENT_OPTIONS, insecure, WINDOW_BYTES } from '../../proto/channel.js';
import type { APIClient } from '../../proto/generated/pfs.js';
import { PutFileRequest, type APIServer } from '../../proto/generated/pfs.js';
import { PfsClient, PfsService } from '../../proto/services.js';
import { encodeBytesValue } from '../../proto/codec-hot.js';
import { fromStatus } from '../../proto/status.js';
import { END_MARKER } from '../../proto/streams.js';

let server: GrpcServer;
let client: APIClient;
/** Uploads the server took for complete: bytes each. */
const committed: number[] = [];
/** Uploads the server gave up on. */
const refused: unknown[] = [];

beforeAll(async () => {
  const handlers = service<APIServer>(PfsService, {
    putFile: async (requests) => {
      let bytes = 0;
      try {
        for await (const request of requests) {
          bytes += request.value.length;
          if (request.url === 'fail') throw invalidInput('refused on purpose');
        }
      } catch (error) {
        refused.push(error);
        throw error;
      }
      committed.push(bytes);
      return {};
    },
    getFile: async function* (request) {
      for (let i = 0; i < request.sizeBytes; i += 1) {
        yield encodeBytesValue(Buffer.alloc(64 * 1024, i));
      }
      if (request.offsetBytes > 0) throw invalidInput('broke after the last message');
    },
  });
  server = await openGrpcServer([handlers], {
    listen: '127.0.0.1:0',
    log: silentLog,
    clock: systemClock,
  });
  client = new PfsClient(`127.0.0.1:${server.port}`, insecure(), CLIENT_OPTIONS);
});

afterAll(async () => {
  client.close();
  await server[Symbol.asyncDispose]();
});

const message = (fields: Partial<PutFileRequest>): PutFileRequest =>
  PutFileRequest.fromPartial(fields);
const value = Buffer.alloc(256 * 1024, 7);

function put(options: { metadata?: Metadata; deadline?: Date } = {}) {
  let call!: ReturnType<APIClient['putFile']>;
  const done = new Promise<ServiceError | null>((resolve) => {
    call = client.putFile(
      options.metadata ?? new Metadata(),
      options.deadline ? { deadline: options.deadline } : {},
      (error) => resolve(error),
    );
  });
  return { call, done };
}

describe('uploads', () => {
  it('counts a finished upload once, with all its bytes', async () => {
    const { call, done } = put();
    for (let i = 0; i < 8; i += 1) call.write(message({ value }));
    call.end();
    expect(await done).toBeNull();
    expect(committed.at(-1)).toBe(8 * value.length);
  });

  it('never takes a cancelled upload for a finished one', async () => {
    const before = committed.length;
    const given = refused.length;
    const calls = Array.from({ length: 60 }, (_, i) => {
      const { call, done } = put();
      for (let n = 0; n <= i % 5; n += 1) call.write(message({ value }));
      if (i % 3 === 0) setImmediate(() => call.cancel());
      else call.cancel();
      return done;
    });
    const errors = await Promise.all(calls);
    expect(errors.every((error) => error?.code === status.CANCELLED)).toBe(true);
    await expect.poll(() => refused.length - given, { timeout: 5_000 }).toBeGreaterThan(0);
    expect(committed.length).toBe(before);
  });

  it('never takes a timed-out upload for a finished one', async () => {
    const before = committed.length;
    const calls = Array.from({ length: 20 }, (_, i) => {
      const { call, done } = put({ deadline: new Date(Date.now() + 5 + i * 5) });
      call.on('error', () => undefined);
      call.write(message({ value }));
      return done;
    });
    const errors = await Promise.all(calls);
    expect(errors.every((error) => error?.code === status.DEADLINE_EXCEEDED)).toBe(true);
    expect(committed.length).toBe(before);
  });

  it('requires the end marker from clients that announced it', async () => {
    const metadata = new Metadata();
    metadata.set(END_MARKER, '1');
    const before = committed.length;
    const cut = put({ metadata });
    cut.call.write(message({ value }));
    cut.call.end();
    expect((await cut.done)?.details).toContain('broke off before its end');
    expect(committed.length).toBe(before);
    const whole = put({ metadata });
    whole.call.write(message({ value }));
    whole.call.write(message({ end: true }));
    whole.call.end();
    expect(await whole.done).toBeNull();
    expect(committed.at(-1)).toBe(value.length);
  });

  it('delivers the reason when the server refuses in the middle', async () => {
    const { call, done } = put();
    call.write(message({ url: 'fail' }));
    for (let i = 0; i < 40; i += 1) call.write(message({ value }));
    call.end();
    const error = await done;
    expect(error?.details).toBe('refused on purpose');
    expect(fromStatus(error).code).toBe('INVALID_INPUT');
  });
});

describe('downloads', () => {
  it('delivers every message and then the failure', async () => {
    const call = client.getFile({ file: undefined, offsetBytes: 1, sizeBytes: 200 });
    let messages = 0;
    const read = async (): Promise<void> => {
      for await (const _part of call) messages += 1;
    };
    await expect(read()).rejects.toMatchObject({ details: 'broke after the last message' });
    expect(messages).toBe(200);
  });
});

it('answers rpcs that are not built with a text that says so', async () => {
  const error = await new Promise<ServiceError | null>((resolve) =>
    client.listRepo({}, (failure) => resolve(failure)),
  );
  expect(error?.code).toBe(status.UNIMPLEMENTED);
  expect(error?.details).toContain('/pfs.API/ListRepo is not built yet');
});

it('advertises wide windows (also asserted at every start)', () => {
  expect(WINDOW_BYTES).toBeGreaterThanOrEqual(8 * 1024 * 1024);
});
