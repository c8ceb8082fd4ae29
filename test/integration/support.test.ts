/** The test servers themselves: they start, survive kill -9 and restart, and leave nothing behind. */
import { expect, it } from 'vitest';
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { startEtcd } from '../support/etcd.js';
import { startNats } from '../support/nats.js';
import { startSwift } from '../support/swift.js';

it('etcd and nats-server come back on the same port', async () => {
  let pids: number[];
  {
    await using etcd = await startEtcd();
    await using nats = await startNats();
    await Promise.all([etcd.kill9(), nats.kill9()]);
    await Promise.all([etcd.restart(), nats.restart()]);
    expect((await fetch(`${etcd.url}/health`)).ok).toBe(true);
    pids = [etcd.process.pid, nats.process.pid];
  }
  for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow();
});

it('Swift stores and answers over S3, also after a restart', async () => {
  await using s3 = await startSwift();
  const client = new S3Client({
    endpoint: s3.url,
    region: s3.region,
    forcePathStyle: true,
    credentials: s3,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  await client.send(new PutObjectCommand({ Bucket: s3.bucket, Key: 'a/b', Body: 'bytes' }));
  await s3.restart();
  const reply = await client.send(new GetObjectCommand({ Bucket: s3.bucket, Key: 'a/b' }));
  expect(await reply.Body?.transformToString()).toBe('bytes');
  client.destroy();
});
