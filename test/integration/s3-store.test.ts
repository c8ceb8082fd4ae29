import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { codeOf, messageOf } from '../../core/errors.js';
import { silentLog } from '../../core/log.js';
import { openStorage } from '../../storage/index.js';
import { objectStoreContract } from '../../storage/object-store.contract.js';
import { openS3Store } from '../../storage/s3-store.js';
import { HttpTrouble } from '../support/http-trouble.js';
import { startSwift } from '../support/swift.js';
import { until } from '../support/until.js';

let swift: Awaited<ReturnType<typeof startSwift>>;
let count = 0;
beforeAll(async () => {
  swift = await startSwift();
}, 60_000);
afterAll(() => swift[Symbol.asyncDispose]());

const deps = { clock: systemClock, log: silentLog };
const signal = new AbortController().signal;
const urlOf = (path: string): string => `s3://${path}?endpoint=${swift.url}&region=us-east-1`;

objectStoreContract('S3', () =>
  openS3Store({ url: urlOf(`tusk-contract/run-${(count += 1)}`), s3: swift, ...deps }),
);

describe('S3 storage', () => {
  it('keeps a large file and many small ones', async () => {
    await using storage = await openStorage({
      url: urlOf('tusk-storage/deep/prefix'),
      s3: swift,
      epoch: 0,
      ...deps,
    });
    const writer = storage.newWriter({ signal });
    const big = randomBytes(30_000_000);
    const sink = writer.beginFile();
    for (let at = 0; at < big.length; at += 1_000_000) {
      await sink.write(big.subarray(at, at + 1_000_000));
    }
    const content = await sink.end();
    const small = [];
    for (let i = 0; i < 1000; i += 1) small.push(await writer.writeBytes(Buffer.from(`file ${i}`)));
    await writer.flush({ signal });
    const parts: Buffer[] = [];
    for await (const part of storage.read(content, { signal })) parts.push(part);
    expect(Buffer.concat(parts).equals(big)).toBe(true);
    const last: Buffer[] = [];
    for await (const part of storage.read(small[999] as (typeof small)[number], { signal })) {
      last.push(part);
    }
    expect(Buffer.concat(last).toString()).toBe('file 999');
  });

  it('waits out no stall of a read, with few further requests, and reads all at a bearable pace', async () => {
    await using calm = await openS3Store({ url: urlOf('tusk-hedged'), s3: swift, ...deps });
    const keys = Array.from({ length: 40 }, (_, number) => `c/0/object${number}`);
    for (const key of keys) await calm.put(key, Buffer.from(key.repeat(100)), { signal });
    const shares = { slowDown: 100, reset: 10, stall: 10, lostReply: 0 };
    await using trouble = new HttpTrouble(new URL(swift.url), shares, 10_000);
    const url = `s3://tusk-hedged?endpoint=${await trouble.listen()}&region=us-east-1`;
    await using store = await openS3Store({ url, s3: swift, ...deps });
    const reads = 1_000;
    let next = 0;
    const reader = async (): Promise<void> => {
      for (let read = next++; read < reads; read = next++) {
        const key = keys[read % keys.length] as string;
        if (read % 10 === 0) {
          expect(await store.head(key, { signal })).toEqual({ key, size: key.length * 100 });
        } else {
          const bytes = await store.get(key, { signal, offset: 0, length: key.length });
          expect(bytes.toString()).toBe(key);
        }
      }
    };
    await Promise.all(Array.from({ length: 16 }, reader));
    const { readsHedged, slowDowns } = store.counts;
    expect(trouble.met.stall).toBeGreaterThan(5);
    // Down to the socket: the proxy sees each stalled request go.
    await until('no request is left', () => trouble.stalled.open === 0, 30_000);
    expect(trouble.stalled.waitedOut).toEqual([]);
    expect(trouble.stalled.cancelled).toHaveLength(trouble.met.stall);
    expect(readsHedged).toBeGreaterThanOrEqual(trouble.met.stall);
    expect(readsHedged).toBeLessThanOrEqual(10 + (reads + slowDowns + trouble.met.reset) / 20);
    // What was cancelled meanwhile is not heard any more.
    expect(trouble.met.slowDown - slowDowns).toBeLessThanOrEqual(readsHedged);
    expect(slowDowns).toBeGreaterThan(0);
    expect(store.counts.reads).toBe(reads - reads / 10);
  });

  it('says what is wrong with an address or with credentials', async () => {
    const open = (url: string, s3 = { accessKeyId: 'a', secretAccessKey: 'b' }): Promise<unknown> =>
      openStorage({ url, s3, epoch: 0, ...deps }).catch((error: unknown) => error);
    const unreachable = await open('s3://bucket?endpoint=http://127.0.0.1:9');
    expect(codeOf(unreachable)).toBe('UNAVAILABLE');
    expect(messageOf(unreachable)).toContain('bucket bucket at http://127.0.0.1:9');
    const refused = await open(urlOf('tusk-storage'));
    expect(codeOf(refused)).toBe('PERMISSION_DENIED');
    expect(messageOf(refused)).toContain('check the access key');
    for (const url of ['s3://', 's3://b?endpoint=x', 's3://b?colour=red', 'ftp://x', 'dir://x']) {
      expect(codeOf(await open(url))).toBe('INVALID_INPUT');
    }
  });
});
