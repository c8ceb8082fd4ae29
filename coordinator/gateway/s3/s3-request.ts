/** A request to a bucket of the gateway. */
import type { Clock } from '../../../core/clock.js';
import type { Exchange } from '../../../http/http-server.js';
import { readTarget, sourceNameOf } from '../../../http/s3/request.js';
import { parseBucket, type Bucket, type GatewayDeps } from './bucket.js';

export interface S3Deps extends GatewayDeps {
  readonly clock: Clock;
}

export interface S3Request {
  readonly exchange: Exchange;
  readonly method: string;
  /** undefined: the service itself. */
  readonly bucket: Bucket | undefined;
  /** Without leading slash; empty: the bucket itself. */
  readonly key: string;
  readonly query: URLSearchParams;
}

export interface BucketRequest extends S3Request {
  readonly bucket: Bucket;
}

/** Reads the request line and the signature. Throws S3Error. */
export function readRequest(exchange: Exchange, wallMs: number): S3Request {
  const target = readTarget(exchange, wallMs);
  return { ...target, bucket: target.bucket === '' ? undefined : parseBucket(target.bucket) };
}

export interface CopySource {
  readonly bucket: Bucket;
  readonly key: string;
  readonly version: string | undefined;
}

/** The source that a copy names; undefined when the request is no copy. */
export function copySourceOf({ exchange }: S3Request): CopySource | undefined {
  const source = sourceNameOf(exchange);
  return source && { ...source, bucket: parseBucket(source.bucket) };
}
