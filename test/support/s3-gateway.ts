/** A Tusk with its S3 gateway open, and the AWS SDK to use it with. */
import {
  CreateBucketCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type GetObjectCommandOutput,
} from '@aws-sdk/client-s3';
import { startStack, type Stack } from './stack.js';

export class S3Gateway implements AsyncDisposable {
  readonly client: S3Client;
  #count = 0;

  constructor(
    readonly stack: Stack,
    readonly endpoint: string,
  ) {
    this.client = new S3Client({
      endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId: 'any', secretAccessKey: 'key' },
      maxAttempts: 1,
    });
  }

  get port(): number {
    return Number(new URL(this.endpoint).port);
  }

  /** Makes a bucket of a repo of its own. */
  async bucket(branch = 'master'): Promise<string> {
    this.#count += 1;
    const Bucket = `${branch}.s3-${this.#count}`;
    await this.client.send(new CreateBucketCommand({ Bucket }));
    return Bucket;
  }

  /** Puts an object; the answer is its version, a commit id. */
  async put(Bucket: string, Key: string, Body: string | Buffer = Key): Promise<string> {
    const { VersionId } = await this.client.send(new PutObjectCommand({ Bucket, Key, Body }));
    return VersionId ?? '';
  }

  /** Puts files with these keys in one commit; each holds its key. */
  async putAll(Bucket: string, keys: readonly string[]): Promise<void> {
    const files = Object.fromEntries(keys.map((key) => [`/${key}`, key]));
    await this.stack.client.put(repoOf(Bucket), files);
  }

  async get(Bucket: string, Key: string, more = {}): Promise<string> {
    const output = await this.client.send(new GetObjectCommand({ Bucket, Key, ...more }));
    return (await bytesOf(output)).toString();
  }

  async keys(Bucket: string, more = {}): Promise<string[]> {
    const page = await this.client.send(new ListObjectsV2Command({ Bucket, ...more }));
    return (page.Contents ?? []).map(({ Key }) => Key ?? '');
  }

  /** A request no SDK would send; an error answer is thrown in the shape of the SDK's. */
  async raw(
    method: string,
    path: string,
    headers: Record<string, string> = {},
    body?: string,
  ): Promise<void> {
    const init = { method, headers, ...(body === undefined ? {} : { body }) };
    const response = await fetch(this.endpoint + path, init);
    const text = await response.text();
    if (response.ok) return;
    const name = /<Code>(.*?)<\/Code>/.exec(text)?.[1] ?? text;
    throw Object.assign(new Error(text), { name, $metadata: { httpStatusCode: response.status } });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.destroy();
    await this.stack[Symbol.asyncDispose]();
  }
}

export async function startS3Gateway(): Promise<S3Gateway> {
  const stack = await startStack({ workers: 0, config: { s3Listen: '127.0.0.1:0' } });
  return new S3Gateway(stack, `http://127.0.0.1:${stack.ready.s3Port}`);
}

export const repoOf = (Bucket: string): string => Bucket.split('.')[1] ?? Bucket;

export async function bytesOf(output: GetObjectCommandOutput): Promise<Buffer> {
  return Buffer.from((await output.Body?.transformToByteArray()) ?? []);
}

/** Code and status of the error that a promise fails with; `nothing` when it does not. */
export async function refusal(promise: Promise<unknown>): Promise<[string, number | undefined]> {
  try {
    await promise;
    return ['nothing', undefined];
  } catch (error) {
    const { name, $metadata } = error as { name: string; $metadata?: { httpStatusCode?: number } };
    return [name, $metadata?.httpStatusCode];
  }
}
