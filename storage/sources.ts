/**
 * Bytes that lie with others: s3 URLs to put files from or outputs to, and links, files whose bytes stay where
 * they are (docs/formats/objects.md, "Linked pieces").
 *
 * K1 A link names one version of its source. When the source has changed, reading fails; other
 *    bytes are never given.
 */
import { codeOf, invalidInput, stateConflict } from '../core/errors.js';
import type { Clock } from '../core/clock.js';
import type { Log } from '../core/log.js';
import { sha256 } from '../core/sha256.js';
import { contentOf } from './content.js';
import { refFromText } from './refs.js';
import type { S3Credentials } from './s3-client.js';
import type { S3Sink } from './s3-sink.js';
import type { S3Source, SourceAddress, SourceObject } from './s3-source.js';
import type { FileContent, ObjectRef, PieceLocation, Wait } from './types.js';

/** What the blob of a link holds. */
interface LinkRecord {
  readonly link: 1;
  readonly bucket: string;
  readonly key: string;
  readonly etag: string;
  readonly size: number;
  readonly endpoint?: string;
  readonly region: string;
  readonly pathStyle: boolean;
}

export interface SourcesOptions {
  /** Where the store itself is: URLs without an endpoint mean its server when it is S3. */
  readonly storeUrl: string | undefined;
  readonly s3: S3Credentials | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly putJson: (value: unknown, wait: Wait) => Promise<string>;
  readonly getBlob: (ref: ObjectRef, wait: Wait) => Promise<unknown>;
}

/** Buckets whose connections are kept. */
const BUCKETS_MAX = 16;
const PARAMETERS = ['endpoint', 'region', 'path-style'];

/** A place inside a bucket. */
export interface SourcePlace {
  readonly address: SourceAddress;
  /** A key, or the beginning of keys. */
  readonly key: string;
}

export class Sources implements Disposable {
  readonly #options: SourcesOptions;
  readonly #open = new Map<string, Promise<S3Source>>();

  constructor(options: SourcesOptions) {
    this.#options = options;
  }

  /** Reads `s3://bucket/key?endpoint=…&region=…&path-style=…`; INVALID_INPUT says what is wrong. */
  parse(text: string): SourcePlace {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (!url || url.protocol !== 's3:' || url.hostname === '') {
      throw invalidInput(`error parsing url ${text}: expected s3://bucket/key`);
    }
    const { searchParams } = url;
    for (const name of searchParams.keys()) {
      if (PARAMETERS.includes(name)) continue;
      throw invalidInput(
        `error parsing url ${text}: unknown parameter "${name}"; known are ${PARAMETERS.join(', ')}`,
      );
    }
    const endpoint = searchParams.get('endpoint') ?? undefined;
    if (endpoint !== undefined && !/^https?:\/\/[^/]/.test(endpoint)) {
      throw invalidInput(`error parsing url ${text}: endpoint must start with http:// or https://`);
    }
    const home = endpoint === undefined ? this.#home() : {};
    const region = searchParams.get('region') ?? home.region ?? 'us-east-1';
    const pathStyle = (searchParams.get('path-style') ?? home.pathStyle) !== 'false';
    const address = {
      bucket: url.hostname,
      endpoint: endpoint ?? home.endpoint,
      region,
      pathStyle,
    };
    return { address, key: decodeURIComponent(url.pathname.replace(/^\/+/, '')) };
  }

  /** The connection to a bucket. */
  async open(address: SourceAddress): Promise<S3Source> {
    const name = JSON.stringify(address);
    let source = this.#open.get(name);
    if (source) this.#open.delete(name);
    else {
      // The SDK takes a while to load; most stacks never need it here.
      source = import('./s3-source.js').then((it) => new it.S3Source(address, this.#options));
    }
    this.#open.set(name, source);
    const [oldest] = this.#open.keys();
    // Not closed: somebody may be reading. Without users its sockets end by themselves.
    if (this.#open.size > BUCKETS_MAX && oldest !== undefined) this.#open.delete(oldest);
    return source;
  }

  /** A connection to write into a bucket; whoever asks for it disposes it. */
  async openSink(address: SourceAddress): Promise<S3Sink> {
    const { S3Sink } = await import('./s3-sink.js');
    return new S3Sink(address, this.#options);
  }

  /** A file that stays where it is. Nothing is read. */
  async link(address: SourceAddress, object: SourceObject, wait: Wait): Promise<FileContent> {
    if (object.size === 0) return contentOf([]);
    if (object.etag === '') {
      throw stateConflict(`s3://${address.bucket}/${object.key} has no ETag: it can not be linked`);
    }
    const { bucket, endpoint, region, pathStyle } = address;
    const { key, etag, size } = object;
    const record: LinkRecord = {
      link: 1,
      bucket,
      key,
      etag,
      size,
      ...(endpoint === undefined ? {} : { endpoint }),
      region,
      pathStyle,
    };
    const blob = refFromText(await this.#options.putJson(record, wait));
    const identity = JSON.stringify([endpoint ?? '', bucket, key, etag, size]);
    const hash = sha256(Buffer.from(`tusk link 1\n${identity}`));
    const location = { kind: 'x', epoch: blob.epoch, digest: blob.digest, offset: 0 } as const;
    return contentOf([{ hash, size, location }]);
  }

  /** Bytes of a linked piece (K1). */
  async read(
    location: PieceLocation,
    range: Wait & { readonly offset: number; readonly length: number },
  ): Promise<Buffer> {
    const { epoch, digest } = location;
    const ref: ObjectRef = { kind: 'blob', epoch, digest, size: 0 };
    const { signal } = range;
    const record = (await this.#options.getBlob(ref, { signal })) as LinkRecord;
    const { bucket, endpoint, region, pathStyle, key } = record;
    const source = await this.open({ bucket, endpoint, region, pathStyle });
    const offset = location.offset + range.offset;
    try {
      return await source.get(record, { ...range, offset });
    } catch (error) {
      if (codeOf(error) !== 'NOT_FOUND') throw error;
      throw stateConflict(
        `s3://${bucket}/${key} is gone at its source (${endpoint ?? 'AWS'}): the file was linked, ` +
          'its bytes were never taken over',
        { cause: error },
      );
    }
  }

  [Symbol.dispose](): void {
    for (const source of this.#open.values()) {
      source.then((it) => it[Symbol.dispose]()).catch(() => undefined);
    }
    this.#open.clear();
  }

  /** How to reach the store's own server, when it is S3. */
  #home(): { endpoint?: string; region?: string; pathStyle?: string } {
    const text = this.#options.storeUrl ?? '';
    if (!text.startsWith('s3://') || !URL.canParse(text)) return {};
    const { searchParams } = new URL(text);
    const at = (name: string): string | undefined => searchParams.get(name) ?? undefined;
    const [endpoint, region, pathStyle] = [at('endpoint'), at('region'), at('path-style')];
    return {
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(region === undefined ? {} : { region }),
      ...(pathStyle === undefined ? {} : { pathStyle }),
    };
  }
}
