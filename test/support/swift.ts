/** A real S3 server for tests: OpenStack Swift with its S3 API. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { freePort } from './free-port.js';
import { ServerProcess } from './server-process.js';
import { SWIFT_PACKAGES, writeSwiftConfig } from './swift-config.js';
import { tempDir } from './temp-dir.js';
import { until } from './until.js';

export interface SwiftServer extends AsyncDisposable {
  /** `http://127.0.0.1:port`, path-style addressing. */
  readonly url: string;
  readonly port: number;
  readonly region: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** What `openStorage` and configs take. */
  readonly storeUrl: string;
  kill9(): Promise<void>;
  stop(): Promise<void>;
  restart(): Promise<void>;
  pause(): void;
  resume(): void;
}

/** Starts the servers in their own directory and makes a bucket. */
export async function startSwift(): Promise<SwiftServer> {
  const dir = await tempDir('swift');
  const [proxy, account, container, object, memcached] = await Promise.all([
    freePort(),
    freePort(),
    freePort(),
    freePort(),
    freePort(),
  ]);
  const ports = { proxy, account, container, object, memcached };
  const files = writeSwiftConfig(dir.path, ports);
  const server = (
    name: string,
    command: string,
    args: string[],
    ready: () => Promise<void>,
  ): ServerProcess =>
    new ServerProcess({
      command,
      args,
      package: SWIFT_PACKAGES,
      logFile: join(dir.path, `${name}.log`),
      ready,
    });
  const answers = (port: number, path: string) => async (): Promise<void> => {
    await until(`${path} on port ${port} answers`, async () => {
      const reply = await fetch(`http://127.0.0.1:${port}${path}`);
      return reply.status < 500;
    });
  };
  const servers = [
    server(
      'memcached',
      'memcached',
      ['-l', '127.0.0.1', '-p', String(memcached), '-u', 'root'],
      () => Promise.resolve(),
    ),
    server('account', 'swift-account-server', [files.account], answers(account, '/')),
    server('container', 'swift-container-server', [files.container], answers(container, '/')),
    server('object', 'swift-object-server', [files.object], answers(object, '/')),
    server('proxy', 'swift-proxy-server', [files.proxy], answers(proxy, '/healthcheck')),
  ];
  const all = async (work: (each: ServerProcess) => Promise<void>): Promise<void> => {
    await Promise.all(servers.map(work));
  };
  const dispose = async (): Promise<void> => {
    await all((each) => each.kill9());
    await dir[Symbol.asyncDispose]();
  };
  const url = `http://127.0.0.1:${proxy}`;
  const credentials = { accessKeyId: 'test:tester', secretAccessKey: 'testing' };
  const bucket = `tusk-${randomBytes(4).toString('hex')}`;
  try {
    await all((each) => each.start());
    await makeBucket(url, credentials, bucket);
  } catch (error) {
    await dispose();
    throw error;
  }
  const endpoint = encodeURIComponent(url);
  return {
    url,
    port: proxy,
    region: 'us-east-1',
    bucket,
    ...credentials,
    storeUrl: `s3://${bucket}/tusk?endpoint=${endpoint}&region=us-east-1&path-style=true`,
    kill9: () => all((each) => each.kill9()),
    stop: () => all((each) => each.stop()),
    restart: () => all((each) => each.restart()),
    pause: () => servers.forEach((each) => each.pause()),
    resume: () => servers.forEach((each) => each.resume()),
    [Symbol.asyncDispose]: dispose,
  };
}

async function makeBucket(
  url: string,
  credentials: { accessKeyId: string; secretAccessKey: string },
  bucket: string,
): Promise<void> {
  const client = new S3Client({
    endpoint: url,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  try {
    await until('the bucket is there', async () => {
      await client.send(new CreateBucketCommand({ Bucket: bucket }));
      return true;
    });
  } finally {
    client.destroy();
  }
}
