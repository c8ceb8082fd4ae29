/** Files from s3:// URLs: one key, or every key that begins so. */
import type { S3Source, SourceObject, SourcePlace, Sources } from '../../../storage/index.js';
import { orderedAhead } from '../../../storage/ordered-ahead.js';
import type { Wait } from '../../../storage/types.js';
import { retrieving, type UrlFile, type UrlRequest } from './url-source.js';

/** Files up to this size are fetched whole, several ahead. */
const SMALL_BYTES = 1024 * 1024;
const SMALL_PARALLEL = 24;
const SMALL_AHEAD_BYTES = 32 * 1024 * 1024;
/** Larger ones come in ranges of this size. */
const RANGE_BYTES = 8 * 1024 * 1024;
const RANGES_PARALLEL = 4;

interface Fetched {
  readonly object: SourceObject;
  /** All of it, when it is small. */
  readonly bytes: Buffer | undefined;
}

interface Bucket {
  readonly sources: Sources;
  readonly source: S3Source;
  readonly place: SourcePlace;
  /** As the client gave it. */
  readonly url: string;
}

/** Keys that end in `/` stand for directories and are passed over when there are many. */
export async function* bucketFiles(
  sources: Sources,
  request: UrlRequest,
  wait: Wait,
): AsyncGenerator<UrlFile> {
  const { url } = request;
  const place = sources.parse(url);
  const bucket: Bucket = { sources, source: await sources.open(place.address), place, url };
  if (!request.recursive) {
    const object = await naming(url, wait, () => bucket.source.head(place.key, wait));
    yield fileOf(bucket, { object, bytes: undefined }, '', wait);
    return;
  }
  const jobs = jobsOf(bucket, request.link, wait);
  const limits = { signal: wait.signal, parallel: SMALL_PARALLEL, bytes: SMALL_AHEAD_BYTES };
  for await (const fetched of orderedAhead(jobs, limits)) {
    yield fileOf(bucket, fetched, fetched.object.key.slice(place.key.length), wait);
  }
}

async function* jobsOf(
  bucket: Bucket,
  link: boolean,
  wait: Wait,
): AsyncGenerator<{ bytes: number; run: (signal: AbortSignal) => Promise<Fetched> }> {
  const { source, place, url } = bucket;
  const objects = source.list(place.key, wait);
  for (;;) {
    const next = await naming(url, wait, () => objects.next());
    if (next.done) return;
    const object = next.value;
    if (object.key.endsWith('/')) continue;
    const whole = !link && object.size > 0 && object.size <= SMALL_BYTES;
    yield {
      bytes: whole ? object.size : 0,
      run: async (signal) => ({ object, bytes: whole ? await wholeOf(object, signal) : undefined }),
    };
  }

  async function wholeOf(object: SourceObject, signal: AbortSignal): Promise<Buffer> {
    const range = { signal, offset: 0, length: object.size };
    return naming(keyUrl(bucket, object), wait, () => source.get(object, range));
  }
}

function fileOf(bucket: Bucket, fetched: Fetched, suffix: string, wait: Wait): UrlFile {
  const { object, bytes } = fetched;
  const { sources, place } = bucket;
  return {
    suffix,
    read: () => (bytes ? single(bytes) : inRanges(bucket, object, wait)),
    link: () => sources.link(place.address, object, wait),
  };
}

async function* single(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** Several ranges ahead, all of the one version that was found first. */
async function* inRanges(bucket: Bucket, object: SourceObject, wait: Wait): AsyncGenerator<Buffer> {
  const { source } = bucket;
  const jobs = (function* () {
    for (let offset = 0; offset < object.size; offset += RANGE_BYTES) {
      const length = Math.min(RANGE_BYTES, object.size - offset);
      const run = (signal: AbortSignal): Promise<Buffer> =>
        naming(keyUrl(bucket, object), wait, () => source.get(object, { signal, offset, length }));
      yield { bytes: length, run };
    }
  })();
  const limits = { parallel: RANGES_PARALLEL, bytes: RANGE_BYTES * RANGES_PARALLEL };
  yield* orderedAhead(jobs, { signal: wait.signal, ...limits });
}

/** What names the object in errors: the URL itself, or the key below it. */
function keyUrl({ place, url }: Bucket, object: SourceObject): string {
  return object.key === place.key ? url : `s3://${place.address.bucket}/${object.key}`;
}

async function naming<T>(url: string, wait: Wait, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    wait.signal.throwIfAborted();
    throw retrieving(url, error);
  }
}
