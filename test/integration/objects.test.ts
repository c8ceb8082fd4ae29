/** pfs.ObjectAPI behind a real gRPC server, on etcd and a directory store. */
import { status, type ClientReadableStream, type ClientWritableStream } from '@grpc/grpc-js';
import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import { ResourceStack } from '../../core/resource-stack.js';
import { NEVER } from '../../core/signals.js';
import { StoredObjects } from '../../coordinator/objects/stored-objects.js';
import { objectHandlers } from '../../coordinator/rpc/objects.js';
import { openGrpcServer, service } from '../../coordinator/server.js';
import { CLIENT_OPTIONS, insecure } from '../../proto/channel.js';
import {
  ObjectAPIClient,
  ObjectAPIService,
  type Object as ObjectMessage,
  type ObjectInfo,
  type Objects,
} from '../../proto/generated/pfs.js';
import { startEtcd } from '../support/etcd.js';
import { openVersioningStack } from '../support/versioning.js';

const resources = new ResourceStack();
const wait = { signal: NEVER };
let client: ObjectAPIClient;
let objects: StoredObjects;

beforeAll(async () => {
  const etcd = resources.use(await startEtcd({ fsync: false }));
  const stack = resources.use(await openVersioningStack(etcd));
  objects = new StoredObjects(stack);
  const server = resources.use(
    await openGrpcServer([service(ObjectAPIService, objectHandlers(objects))], {
      listen: '127.0.0.1:0',
      log: silentLog,
      clock: systemClock,
    }),
  );
  client = new ObjectAPIClient(`127.0.0.1:${server.port}`, insecure(), CLIENT_OPTIONS);
  resources.defer(async () => client.close());
});
afterAll(() => resources[Symbol.asyncDispose]());

const sha512 = (bytes: Buffer | string): string => createHash('sha512').update(bytes).digest('hex');

type Reply<T> = (error: unknown, reply: T) => void;
/** Calls a unary method. */
const call = <T>(start: (reply: Reply<T>) => unknown): Promise<T> =>
  new Promise((resolve, reject) =>
    start((error, reply) => (error ? reject(error) : resolve(reply))),
  );

function upload<T>(
  method: (reply: Reply<T>) => ClientWritableStream<never>,
  parts: readonly { value: Buffer; tags?: { name: string }[] }[],
): Promise<T> {
  return call((reply) => {
    const stream = method(reply);
    for (const part of parts) stream.write({ tags: [], block: undefined, ...part } as never);
    stream.end();
  });
}

const put = (...parts: Parameters<typeof upload>[1][number][]): Promise<ObjectMessage> =>
  upload<ObjectMessage>((reply) => client.putObject(reply) as never, parts);

async function read(stream: ClientReadableStream<unknown>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream) {
    const bytes = Buffer.isBuffer(part) ? part : (part as { value: Buffer }).value;
    expect(bytes.length).toBeLessThanOrEqual(2 * 1024 * 1024);
    parts.push(bytes);
  }
  return Buffer.concat(parts);
}

async function all<T>(stream: ClientReadableStream<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const each of stream) found.push(each as T);
  return found;
}

const failure = (work: Promise<unknown>): Promise<{ code?: number; details?: string }> =>
  work.then(
    () => ({}),
    ({ code, details }: { code: number; details: string }) => ({ code, details }),
  );

it('stores by sha512, once, and names objects by tags', async () => {
  const big = randomBytes(5_000_000);
  const stored = await put(
    { value: big.subarray(0, 3_000_000), tags: [{ name: 'a/one' }] },
    { value: big.subarray(3_000_000), tags: [{ name: 'a/two' }] },
  );
  expect(stored.hash).toBe(sha512(big));
  expect(await put({ value: big })).toEqual(stored);
  expect((await put()).hash).toBe(sha512(''));
  expect((await read(client.getObject(stored))).equals(big)).toBe(true);
  expect((await read(client.getTag({ name: 'a/two' }))).equals(big)).toBe(true);
  expect((await read(client.getObject({ hash: sha512('') }))).length).toBe(0);
  const small = await put({ value: Buffer.from('small') });
  await call((reply) => client.tagObject({ object: small, tags: [{ name: 'b' }] }, reply));
  const parts = { objects: [small, stored, small], totalSize: 0 };
  const range = { ...parts, offsetBytes: 3, sizeBytes: 5_000_003 };
  const whole = Buffer.concat([Buffer.from('small'), big, Buffer.from('small')]);
  expect((await read(client.getObjects(range))).equals(whole.subarray(3, 5_000_006))).toBe(true);
  const info = await call<ObjectInfo>((reply) => client.inspectTag({ name: 'b' }, reply));
  expect(info).toEqual({
    object: small,
    blockRef: { block: { hash: small.hash }, range: { lower: 0, upper: 5 } },
  });
  expect(await call<ObjectInfo>((reply) => client.inspectObject(small, reply))).toEqual(info);
  expect((await all(client.listObjects({}))).length).toBe(3);
  const tags = await all(client.listTags({ prefix: 'a/', includeObject: true }));
  expect(tags).toEqual([
    { tag: { name: 'a/one' }, object: stored },
    { tag: { name: 'a/two' }, object: stored },
  ]);
  await call((reply) => client.deleteTags({ tags: [{ name: 'a/one' }, { name: 'no' }] }, reply));
  expect((await all(client.listTags({ prefix: '', includeObject: false }))).length).toBe(2);
  await call((reply) => client.deleteObjects({ objects: [small, small] }, reply));
  const check = await call((reply) => client.checkObject({ object: small }, reply));
  expect(check).toEqual({ exists: false });
  expect(await failure(read(client.getTag({ name: 'b' })))).toEqual({
    code: status.NOT_FOUND,
    details: `object ${small.hash} not found`,
  });
});

it('splits long uploads', async () => {
  const parts = [randomBytes(700), randomBytes(301)];
  async function* items(): AsyncGenerator<{ value: Buffer; tags: string[] }> {
    for (const value of parts) yield { value, tags: [] };
  }
  const whole = Buffer.concat(parts);
  const stored = await objects.putSplit(items(), wait, 500);
  expect(stored).toEqual(
    [whole.subarray(0, 500), whole.subarray(500, 1000), whole.subarray(1000)].map((bytes) => ({
      hash: sha512(bytes),
      size: bytes.length,
    })),
  );
  const one = await upload<Objects>(
    (reply) => client.putObjectSplit(reply) as never,
    [{ value: whole }],
  );
  expect(one.objects).toEqual([{ hash: sha512(whole) }]);
});

it('says what is missing, and what there is not', async () => {
  const hash = sha512('never stored');
  expect(await failure(read(client.getObject({ hash })))).toEqual({
    code: status.NOT_FOUND,
    details: `object ${hash} not found`,
  });
  const piece = await failure(read(client.getObject({ hash: hash.slice(0, 64) })));
  expect(piece.details).toContain('get the file instead');
  expect(await failure(read(client.getTag({ name: 'none' })))).toEqual({
    code: status.NOT_FOUND,
    details: 'tag none not found',
  });
  const tagged = call((reply) => client.tagObject({ object: { hash }, tags: [] }, reply));
  expect(await failure(tagged)).toEqual({
    code: status.FAILED_PRECONDITION,
    details: `object ${hash} does not exist`,
  });
  const bad = await failure(call((reply) => client.inspectObject({ hash: '../x' }, reply)));
  expect(bad.code).toBe(status.INVALID_ARGUMENT);
  const internal = [
    failure(call((reply) => client.compact({}, reply))),
    failure(all(client.listBlock({}))),
  ];
  for (const { code, details } of await Promise.all(internal)) {
    expect(code).toBe(status.UNIMPLEMENTED);
    expect(details).toContain('it served the workers of old versions');
  }
});
