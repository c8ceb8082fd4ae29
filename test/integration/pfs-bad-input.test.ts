/** What no decent client sends: the service answers with a reason, stores nothing of it, goes on. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { status, type ClientReadableStream } from '@grpc/grpc-js';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PutFileRequest } from '../../proto/generated/pfs.js';
import { type PfsApi, pathsOf, refusalOf, type Refusal } from '../support/pfs-api.js';
import { sharedPfs } from '../support/shared.js';
import type { Stack } from '../support/stack.js';
import { until } from '../support/until.js';

let stack: Stack;
let pfs: PfsApi;

sharedPfs((api, made) => {
  [pfs, stack] = [api, made];
});

/** What a wrong request may be answered with: nothing that says the server is at fault. */
const ANSWERS = new Set<number>([
  status.OK,
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.FAILED_PRECONDITION,
]);
const outcome = async (work: Promise<unknown>): Promise<Refusal> =>
  work.then(
    () => ({ code: status.OK, details: '' }),
    ({ code, details }: Refusal) => ({ code, details }),
  );
const answers = async (): Promise<void> => {
  const repo = await pfs.repo();
  await pfs.files(`${repo}@master`, { '/f': 'x' });
  expect(await pfs.get(`${repo}@master:f`)).toBe('x');
};

/** CI tries more of them. */
const RUNS = Number(process.env['TUSK_STRING_RUNS'] ?? 40);

describe('strings of all kinds', () => {
  const odd = fc.constantFrom(
    ...['/', '//', '.', '..', '../', '*', '**', '?', '[', ']', '[]', '[!', '{', '}', ',', '(', ')'],
    ...['|', '!(', '@(', '+(', '*(', '^(', '\\', '^', '~', '.1', '^1', '-', ':', '@', '$1', ' '],
    ...[
      '\0',
      '\n',
      '\x7f',
      'é',
      '😀',
      '\u202e',
      '\ufffd',
      'a',
      'b',
      'dir',
      'master',
      '[[:alpha:]]',
    ],
    ...['0123456789ab4def8123456789abcdef', 'x'.repeat(300), '%2e%2e', '%', "'", '"', '`'],
  );
  const text = fc.oneof(
    { weight: 6, arbitrary: fc.array(odd, { maxLength: 6 }).map((parts) => parts.join('')) },
    { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength: 12 }) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 12 }) },
  );
  let repo: string;
  beforeAll(async () => {
    repo = await pfs.repo();
    await pfs.files(`${repo}@master`, { '/a': 'a', '/dir/b': 'b', '/dir/sub/c': 'c' });
  });

  it('are answered by everything that reads', async () => {
    const reads = fc.asyncProperty(text, text, async (ref, path) => {
      const file = { commit: { repo: { name: repo }, id: ref }, path };
      const inMaster = { commit: { repo: { name: repo }, id: 'master' }, path };
      const work = [
        pfs.call('inspectCommit', { commit: file.commit }),
        pfs.call('inspectFile', { file }),
        pfs.call('inspectFile', { file: inMaster }),
        pfs.all('getFile', { file: inMaster }),
        pfs.all('listFileStream', { file: inMaster, history: -1 }),
        pfs.all('walkFile', { file: inMaster }),
        pfs.all('globFileStream', { commit: inMaster.commit, pattern: path }),
        pfs.call('diffFile', { newFile: inMaster, oldFile: file }),
        pfs.call('inspectRepo', { repo: { name: ref } }),
        pfs.call('inspectBranch', { branch: { repo: { name: ref }, name: path } }),
        pfs.all('listCommitStream', { repo: { name: repo }, to: file.commit }),
      ];
      const all = await Promise.all(work.map(outcome));
      for (const each of all) {
        expect(ANSWERS, each.details).toContain(each.code);
        if (each.code !== status.OK) expect(each.details).not.toBe('');
      }
    });
    await fc.assert(reads, { numRuns: RUNS, seed: 1 });
    await answers();
  });

  it('make a whole change or none', async () => {
    const own = await pfs.repo();
    let made = 0;
    const writes = fc.asyncProperty(
      text,
      text,
      fc.constantFrom('put', 'two', 'delete', 'copy', 'start', 'repo', 'branch'),
      async (name, path, kind) => {
        const file = { commit: { repo: { name: own }, id: 'master' }, path };
        const src = { ...file, path: '/' };
        const branch = { repo: { name: own }, name };
        const request = {
          put: () => pfs.put(`${own}@master`, { path, value: name }),
          two: () => pfs.put(`${own}@master`, { path: '/fine', value: name }, { path }),
          delete: () => pfs.put(`${own}@master`, { path, delete: true }),
          copy: () => pfs.call('copyFile', { src: { ...src, path: '/fine' }, dst: file }),
          start: () => pfs.call('startCommit', { parent: { repo: branch.repo, id: name } }),
          repo: () => pfs.call('createRepo', { repo: { name }, update: true }),
          branch: () => pfs.call('createBranch', { branch, head: file.commit }),
        }[kind];
        const before = (await pfs.list(own)).length;
        const { code, details } = await outcome(request());
        expect(ANSWERS, details).toContain(code);
        const after = (await pfs.list(own)).length;
        if (code !== status.OK) expect(after).toBe(before);
        made += after - before;
      },
    );
    await fc.assert(writes, { numRuns: RUNS, seed: 2 });
    expect((await pfs.list(own)).length).toBe(made);
    expect(await pfs.all('fsck', { fix: false })).toEqual([]);
    const listed = await pfs.walk(`${own}@master:/`);
    for (const path of listed) expect(path).toMatch(/^\/[\x20-\x7e]*$/);
    await answers();
  });

  it('with a NUL name nothing that is there', async () => {
    const nul = { code: status.INVALID_ARGUMENT };
    expect(await refusalOf(pfs.get(`${repo}@master:/dir\0b`))).toMatchObject(nul);
    expect(await refusalOf(pfs.remove(`${repo}@master:/dir\0b`))).toMatchObject(nul);
    expect(await refusalOf(pfs.glob(`${repo}@master:/dir\0*`))).toMatchObject(nul);
    expect(await pfs.get(`${repo}@master:/dir/b`)).toBe('b');
  });

  it('of a length nobody writes are refused by their length', async () => {
    const long = 'x'.repeat(5 * 1024 * 1024);
    const refused = await refusalOf(pfs.put(`${repo}@master`, { path: long, value: 'x' }));
    expect(refused.code).toBe(status.INVALID_ARGUMENT);
    expect(refused.details).toContain('longer than');
    expect(refused.details.length).toBeLessThan(1_000);
    for (const name of [long, ` ${long}`]) {
      const named = await refusalOf(pfs.repo(name));
      expect(named.code).toBe(status.INVALID_ARGUMENT);
      expect(named.details).toContain('invalid: ');
    }
    const deep = 'd/'.repeat(20_000);
    const tooDeep = await refusalOf(pfs.put(`${repo}@master`, { path: `${deep}x`, value: 'x' }));
    expect(tooDeep.code).toBe(status.INVALID_ARGUMENT);
    const fits = `${'d/'.repeat(500)}x`;
    await pfs.files(`${repo}@deep`, { [fits]: 'deep' });
    expect(await pfs.get(`${repo}@deep:${fits}`)).toBe('deep');
    expect((await pfs.walk(`${repo}@deep:/`)).length).toBe(502);
    await answers();
  });
});

describe('bytes that are no messages', () => {
  const PUT = '/pfs.API/PutFile';
  let session: ClientHttp2Session;
  beforeAll(async () => {
    session = connectHttp2(`http://${stack.address}`);
    session.on('error', () => undefined);
    await new Promise((resolve) => session.once('connect', resolve));
  });
  afterAll(() => session.destroy());

  /** Sends a request of these bytes; the answer is its gRPC status, or how the stream ended. */
  async function send(
    path: string,
    bytes: Buffer,
    o: { headers?: Record<string, string>; end?: boolean; text?: boolean } = {},
  ): Promise<string> {
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...o.headers,
    });
    return new Promise((resolve) => {
      let answer = 'nothing';
      const take = (headers: Record<string, unknown>): void => {
        const text = o.text ? ` ${decodeURI(String(headers['grpc-message']))}` : '';
        if (headers['grpc-status'] !== undefined)
          answer = `${Number(headers['grpc-status'])}${text}`;
        else if (headers[':status'] !== 200) answer = `HTTP ${String(headers[':status'])}`;
      };
      stream.on('response', take);
      stream.on('trailers', take);
      stream.on('error', () => (answer = answer === 'nothing' ? 'reset' : answer));
      stream.on('close', () => resolve(answer));
      stream.resume();
      if (o.end === false) stream.write(bytes, () => stream.close(8));
      else stream.end(bytes);
    });
  }

  const framed = (message: Buffer, length = message.length, flag = 0): Buffer => {
    const head = Buffer.alloc(5);
    head.writeUInt8(flag, 0);
    head.writeUInt32BE(length, 1);
    return Buffer.concat([head, message]);
  };
  const putOf = (repo: string, value: string): Buffer =>
    Buffer.from(
      PutFileRequest.encode(
        PutFileRequest.fromPartial({
          file: { commit: { repo: { name: repo }, id: 'master' }, path: '/f' },
          value: Buffer.from(value),
        }),
      ).finish(),
    );

  it.each([
    ['cut off inside a message', (m: Buffer) => framed(m).subarray(0, -3)],
    ['cut off after a whole message', (m: Buffer) => Buffer.concat([framed(m), framed(m, 1000)])],
    ['cut off inside the length', (m: Buffer) => Buffer.concat([framed(m), Buffer.from([0, 0])])],
    ['longer than allowed', (m: Buffer) => framed(m, 21 * 1024 * 1024)],
    ['of 4 GiB', (m: Buffer) => framed(m, 0xffffffff)],
    ['that are no protobuf', () => framed(Buffer.alloc(64, 0xff))],
    ['that lie about a length inside', () => framed(Buffer.from([0x0a, 0x7f, 0x01]))],
    ['that are not compressed', (m: Buffer) => framed(m, m.length, 1)],
  ])('%s', async (_what, make) => {
    const repo = await pfs.repo();
    const headers = { 'grpc-encoding': 'gzip' };
    const answer = await send(PUT, make(putOf(repo, 'never seen')), { headers });
    expect(answer).not.toBe('0');
    expect(answer).not.toBe('nothing');
    expect(await pfs.list(repo)).toEqual([]);
    await answers();
  });

  it('reset in the middle store nothing', async () => {
    const repo = await pfs.repo();
    await send(PUT, framed(putOf(repo, 'x')), { end: false });
    await answers();
    expect(await pfs.list(repo)).toEqual([]);
  });

  it('to methods and with types that are not there', async () => {
    const none = await send('/pfs.API/NoSuchMethod', framed(Buffer.alloc(0)));
    expect(none).toBe(String(status.UNIMPLEMENTED));
    const nowhere = await send('/', framed(Buffer.alloc(0)));
    expect(nowhere).toBe(String(status.UNIMPLEMENTED));
    const details = await send('/pfs.API/GetTarV2', framed(Buffer.alloc(0)), { text: true });
    expect(details).toBe('12 v2 method not implemented');
    const headers = { 'content-type': 'text/html' };
    expect(await send(PUT, Buffer.from('<html>'), { headers })).toBe('HTTP 415');
    await answers();
  });

  it('on the bare connection', async () => {
    const garbage = [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.alloc(70_000, 0x41),
      Buffer.concat([
        Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
        Buffer.from([0xff, 0xff, 0xff, 1, 5, 0, 0, 0, 1]),
        Buffer.alloc(1_000, 7),
      ]),
    ];
    for (const bytes of garbage) {
      const socket = connectTcp(stack.port, '127.0.0.1');
      socket.on('error', () => undefined);
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.write(bytes);
      socket.resume();
      setTimeout(() => socket.destroy(), 1_000).unref();
      await closed;
      await answers();
    }
  });
});

describe('messages at the limit', () => {
  it('of 20 MiB pass, larger ones are refused as too large', async () => {
    const repo = await pfs.repo();
    const fits = Buffer.alloc(20 * 1024 * 1024 - 200, 'x');
    await pfs.put(`${repo}@master`, { path: '/big', value: fits });
    expect((await pfs.inspectFile(`${repo}@master:big`)).sizeBytes).toBe(fits.length);
    const before = await pfs.list(repo);
    const tooBig = pfs.put(
      `${repo}@master`,
      { path: '/first', value: 'x' },
      { path: '/bigger', value: Buffer.alloc(20 * 1024 * 1024 + 1) },
    );
    expect((await refusalOf(tooBig)).code).toBe(status.RESOURCE_EXHAUSTED);
    expect(await pfs.list(repo)).toEqual(before);
    await answers();
  });

  it('of no bytes make a file of no bytes', async () => {
    const repo = await pfs.repo();
    await pfs.put(`${repo}@master`, { path: '/zero' });
    expect(await pfs.messages(`${repo}@master:zero`)).toEqual([]);
    expect(await pfs.inspectFile(`${repo}@master:zero`)).toMatchObject({
      fileType: 1,
      sizeBytes: 0,
    });
    await pfs.put(`${repo}@master`);
    expect((await pfs.list(repo)).length).toBe(1);
    const refused = await refusalOf(pfs.put(`${repo}@master`, { value: 'x' }));
    expect(refused.details).toBe('must send a request with a file first');
    expect((await pfs.list(repo)).length).toBe(1);
  });
});

describe('very many at once', () => {
  it('create one name: exactly one wins', async () => {
    const created = await Promise.all(
      Array.from({ length: 300 }, () => outcome(pfs.repo('wanted'))),
    );
    expect(created.filter(({ code }) => code === status.OK).length).toBe(1);
    const lost = created.filter(({ code }) => code !== status.OK);
    expect(new Set(lost.map(({ details }) => details))).toEqual(
      new Set(['repo wanted already exists']),
    );
    await answers();
  });
});

describe('clients that stop reading', () => {
  const rssMiB = (): number => {
    const text = readFileSync(`/proc/${stack.coordinator.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(text)?.[1]) / 1024;
  };

  /** Calls that were begun and then left alone, once each has something to read. */
  async function stalled(
    count: number,
    open: () => ClientReadableStream<unknown>,
  ): Promise<ClientReadableStream<unknown>[]> {
    const calls = Array.from({ length: count }, open);
    let begun = 0;
    for (const call of calls) {
      call.on('error', () => undefined);
      call.once('data', () => {
        begun += 1;
        call.pause();
      });
    }
    await until('all have begun', () => begun === count);
    return calls;
  }

  it('cost little memory, and nobody else waits', async () => {
    const repo = await pfs.repo();
    const part = randomBytes(16 * 1024 * 1024);
    await pfs.put(
      `${repo}@master`,
      { path: '/big', value: part },
      { value: part },
      { value: part },
    );
    const lines = Array.from({ length: 20_000 }, (_, i) => `line ${i}\n`).join('');
    await pfs.put(`${repo}@master`, { path: '/lines', value: lines, delimiter: 2 });
    const file = (path: string) => ({
      file: { commit: { repo: { name: repo }, id: 'master' }, path },
    });
    await pfs.get(`${repo}@master:big`);
    const before = rssMiB();
    const calls = [
      ...(await stalled(24, () => pfs.stream('getFile', file('/big')))),
      ...(await stalled(6, () => pfs.stream('listFileStream', file('/lines')))),
      ...(await stalled(6, () => pfs.stream('walkFile', file('/')))),
    ];
    for (let round = 0; round < 2; round += 1) await answers();
    expect(await pfs.messages(`${repo}@master:big`, { offset: 0, size: 10 })).toHaveLength(1);
    // All of it would be more than 1,150 MiB.
    expect(rssMiB() - before).toBeLessThan(700);
    // Who reads on gets the rest.
    const [first] = calls as [ClientReadableStream<unknown>];
    let bytes = 0;
    first.on('data', (message: Buffer | { value: Buffer }) => {
      bytes += (Buffer.isBuffer(message) ? message : message.value).length;
    });
    first.resume();
    await new Promise((resolve) => first.once('end', resolve));
    expect(bytes).toBeGreaterThan(45 * 1024 * 1024);
    for (const call of calls) call.cancel();
    await answers();
    expect(pathsOf(await pfs.ls(`${repo}@master:/`))).toEqual(['/big', '/lines']);
  });
});
