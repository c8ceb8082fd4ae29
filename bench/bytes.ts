/** Big files: through the CLI into S3 and into a directory, against the SDK and against `cp`. */
import { createReadStream, createWriteStream, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { startSwift } from '../test/support/swift.js';
import { startTcpProxy } from '../test/support/tcp-proxy.js';
import { writeRandomFile } from './lib/data.js';
import type { Row } from './lib/report.js';
import { best, run, shell } from './lib/run.js';
import { openStack } from './lib/stack.js';

const GIB = 2 ** 30;
const PART = 8 << 20;
const speed = (bytes: number, seconds: number): string =>
  `${Math.round(bytes / 2 ** 20 / seconds)} MiB/s`;

/** The SDK's own multipart upload and ranged parallel download of one file. */
async function sdk(
  s3: { url: string; accessKeyId: string; secretAccessKey: string; bucket: string },
  file: string,
  back: string,
): Promise<{ put: number; get: number }> {
  const client = new S3Client({
    endpoint: s3.url,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey },
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  const where = { Bucket: s3.bucket, Key: 'sdk-rival' };
  let start = performance.now();
  const upload = new Upload({
    client,
    params: { ...where, Body: createReadStream(file, { highWaterMark: PART }) },
    partSize: PART,
    queueSize: 4,
  });
  await upload.done();
  const put = (performance.now() - start) / 1000;
  start = performance.now();
  const size = statSync(file).size;
  const parts = Array.from({ length: Math.ceil(size / PART) }, (_, i) => i);
  const out = createWriteStream(back);
  const fetchPart = async (i: number): Promise<Uint8Array> => {
    const range = `bytes=${i * PART}-${Math.min(size, (i + 1) * PART) - 1}`;
    const reply = await client.send(new GetObjectCommand({ ...where, Range: range }));
    return (await reply.Body?.transformToByteArray()) ?? new Uint8Array();
  };
  await pipeline(async function* () {
    const ahead = parts.slice(0, 4).map(fetchPart);
    for (const i of parts) {
      yield await (ahead.shift() as Promise<Uint8Array>);
      if (i + 4 < parts.length) ahead.push(fetchPart(i + 4));
    }
  }, out);
  const get = (performance.now() - start) / 1000;
  client.destroy();
  return { put, get };
}

/** 1 GiB put and get against an S3 server, and the put again over 10 ms each way. */
export async function s3Bytes(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-s3-'));
  await using s3 = await startSwift();
  const url = `s3://${s3.bucket}/tusk?endpoint=${encodeURIComponent(s3.url)}&region=us-east-1&path-style=true`;
  const env = { AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey };
  await using stack = await openStack({ s3: url, env });
  try {
    const file = join(dir, 'big');
    writeRandomFile(file, GIB);
    const rival = await sdk(s3, file, join(dir, 'rival'));
    await stack.tusk(['create', 'repo', 'big']);
    const put = await stack.tusk(['put', 'file', 'big@master:/big', '-f', file]);
    const get = await stack.tusk(['get', 'file', 'big@master:/big', '-o', join(dir, 'back')]);
    await run('cmp', [file, join(dir, 'back')]);
    await using proxy = await startTcpProxy({ port: stack.port, latencyMs: 10 });
    writeRandomFile(file, GIB, 'other');
    const near = await stack.tusk(['put', 'file', 'big@near:/big', '-f', file]);
    writeRandomFile(file, GIB, 'third');
    const far = await run('cli/bin/tusk', ['put', 'file', 'big@far:/big', '-f', file], {
      env: { HOME: stack.dir, PACHD_ADDRESS: `127.0.0.1:${proxy.port}` },
    });
    const row = (
      what: string,
      ours: string,
      a: number,
      theirs: string,
      b: number,
      min: number,
    ) => ({
      what,
      ours,
      oursValue: speed(GIB, a),
      rival: theirs,
      rivalValue: speed(GIB, b),
      ratio: `${(b / a).toFixed(2)} of its speed`,
      limit: `≥ ${min}`,
      ok: b / a >= min,
    });
    const cli = 'tusk put file big@master:/big -f FILE';
    return [
      row('put 1 GiB into S3', cli, put.seconds, 'SDK multipart upload, 8 MiB × 4', rival.put, 0.8),
      row(
        'get 1 GiB from S3',
        'tusk get file big@master:/big -o FILE',
        get.seconds,
        'SDK ranged download, 8 MiB × 4',
        rival.get,
        0.8,
      ),
      row(
        'put 1 GiB over 10 ms each way',
        cli,
        far.seconds,
        'the same on loopback',
        near.seconds,
        0.5,
      ),
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** 512 MiB into a directory store against hashing and copying it durably. */
export async function dirBytes(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-dir-'));
  await using stack = await openStack();
  try {
    const bytes = 512 * 2 ** 20;
    const file = join(dir, 'F');
    let round = 0;
    await stack.tusk(['create', 'repo', 'big']);
    const ours = await best(3, async () => {
      writeRandomFile(file, bytes, `round ${(round += 1)}`);
      await shell('sync');
      const put = await stack.tusk(['put', 'file', `big@b${round}:/big`, '-f', file]);
      return put.seconds;
    });
    const line = `sha256sum ${file} && cp ${file} ${dir}/G && sync ${dir}/G`;
    const rival = await best(3, async () => {
      await shell(`rm -f ${dir}/G; sync`);
      return (await shell(line)).seconds;
    });
    return [
      {
        what: 'put 512 MiB into a directory',
        ours: 'tusk put file big@master:/big -f F',
        oursValue: `${ours.toFixed(2)} s (${speed(bytes, ours)})`,
        rival: 'sha256sum F && cp F G && sync G',
        rivalValue: `${rival.toFixed(2)} s`,
        ratio: `${(ours / rival).toFixed(2)} × its time`,
        limit: '≤ 2.5',
        ok: ours / rival <= 2.5,
      },
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
