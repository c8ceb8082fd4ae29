/**
 * Reads file content back: ranged reads, several ahead of the consumer, neighbours of one pack in
 * one request. Whole pieces are verified against their hash; a mismatch is read once more and then
 * reported as CORRUPT_DATA with the object's key.
 */
import { codeOf, corruptData, invariant } from '../core/errors.js';
import { sha256 } from '../core/sha256.js';
import type { ChunkBuffers } from './chunk-buffers.js';
import { PACKED_BYTES_MAX } from './content.js';
import type { GetOptions, ObjectStore } from './object-store.js';
import { orderedAhead, type AheadBudget, type AheadJob } from './ordered-ahead.js';
import { keyOf, objectOf } from './refs.js';
import type { Sources } from './sources.js';
import type { FileContent, Piece, PieceLocation, Wait } from './types.js';

export interface ReadOptions extends Wait {
  readonly offset?: number;
  readonly length?: number;
}

/** Where bytes come from. */
export interface ReadFrom {
  readonly objects: ObjectStore;
  /** For linked pieces. */
  readonly sources: Pick<Sources, 'read'>;
  /** What all reads share. */
  readonly ahead: AheadBudget;
}

/** Where reads take their memory; the consumer is done with each buffer when it asks for the next. */
interface Memory {
  readonly buffers?: ChunkBuffers;
}

/** What one request brought; `release` when nobody uses the parts any more. */
interface Fetched<T> {
  readonly parts: readonly T[];
  readonly release: () => void;
}

const PARALLEL = 4;
const AHEAD_BYTES = 32 * 1024 * 1024;
/** Pieces of one pack closer than this are fetched together. */
const GAP_BYTES = 64 * 1024;
/** One request for neighbours is at most this long. */
const GROUP_BYTES = 8 * 1024 * 1024;
const GROUP_FILES = 4096;

/** A part of a piece: bytes `[from, to)` of it. */
interface Slice {
  readonly piece: Piece;
  readonly from: number;
  readonly to: number;
}

/** The bytes of a file (or of a range of it) in order. Buffers are at most one chunk (16 MiB). */
export async function* readContent(
  from: ReadFrom,
  content: FileContent,
  options: ReadOptions & Memory,
): AsyncGenerator<Buffer> {
  const slices = slicesOf(content, options.offset ?? 0, options.length ?? Infinity);
  const jobs = jobsOf({ ...from, buffers: options.buffers }, slices);
  for await (const group of orderedAhead(jobs, limits(from, options.signal))) {
    yield* group.parts;
    group.release();
  }
}

export interface ManyItem<T> {
  readonly key: T;
  readonly content: FileContent;
}

export interface ManyResult<T> extends ManyItem<T> {
  /** The whole file, when it is small. */
  readonly bytes?: Buffer;
  /** The file as a stream, when it is not; must be read to its end (or returned) before going on. */
  readonly chunks?: AsyncIterable<Buffer>;
}

/**
 * Many files in the order given. Small files that lie close together in one pack come with one
 * request.
 */
export async function* readMany<T>(
  from: ReadFrom,
  files: AsyncIterable<ManyItem<T>>,
  wait: Wait & Memory,
): AsyncGenerator<ManyResult<T>> {
  const jobs = manyJobs({ ...from, buffers: wait.buffers }, files);
  for await (const group of orderedAhead(jobs, limits(from, wait.signal))) {
    for (const item of group.parts) {
      if (item.bytes) yield item;
      else yield { ...item, chunks: readContent(from, item.content, wait) };
    }
    group.release();
  }
}

interface Source extends ReadFrom {
  readonly buffers: ChunkBuffers | undefined;
}

function limits(from: ReadFrom, signal: AbortSignal) {
  return { signal, parallel: PARALLEL, bytes: AHEAD_BYTES, budget: from.ahead };
}

function* slicesOf(content: FileContent, offset: number, length: number): Generator<Slice> {
  const end = Math.min(content.size, offset + length);
  let at = 0;
  for (const piece of content.pieces) {
    const from = Math.max(offset, at);
    const to = Math.min(end, at + piece.size);
    // A linked piece is a whole file, of any size.
    const step = piece.location?.kind === 'x' ? GROUP_BYTES : Infinity;
    for (let start = from; start < to; start += step) {
      yield { piece, from: start - at, to: Math.min(to, start + step) - at };
    }
    at += piece.size;
    if (at >= end) return;
  }
}

function* jobsOf(source: Source, slices: Iterable<Slice>): Generator<AheadJob<Fetched<Buffer>>> {
  let group: Slice[] = [];
  for (const slice of slices) {
    if (group.length > 0 && !joins(group, slice)) {
      yield groupJob(source, group);
      group = [];
    }
    group.push(slice);
  }
  if (group.length > 0) yield groupJob(source, group);
}

async function* manyJobs<T>(
  source: Source,
  files: AsyncIterable<ManyItem<T>>,
): AsyncGenerator<AheadJob<Fetched<ManyResult<T>>>> {
  let items: ManyItem<T>[] = [];
  let group: Slice[] = [];
  const close = (): AheadJob<Fetched<ManyResult<T>>> => {
    const job = groupJob(source, group);
    const own = items;
    items = [];
    group = [];
    return {
      bytes: job.bytes,
      run: async (signal) => {
        const { parts, release } = await job.run(signal);
        let at = 0;
        const files = own.map((item) => ({
          ...item,
          bytes: item.content.size === 0 ? Buffer.alloc(0) : (parts[at++] as Buffer),
        }));
        return { parts: files, release };
      },
    };
  };
  for await (const item of files) {
    const [piece] = item.content.pieces;
    const small = item.content.pieces.length <= 1 && item.content.size < PACKED_BYTES_MAX;
    const slice = piece && { piece, from: 0, to: piece.size };
    const fits =
      small && items.length < GROUP_FILES && (!slice || !group.length || joins(group, slice));
    if (!fits && items.length > 0) yield close();
    if (small) {
      items.push(item);
      if (slice) group.push(slice);
    } else yield { bytes: 0, run: () => Promise.resolve({ parts: [item], release: nothing }) };
  }
  if (items.length > 0) yield close();
}

/** Whether a slice can come with the same request as the group: same pack, in order, near. */
function joins(group: readonly Slice[], slice: Slice): boolean {
  const first = placeOf(group[0] as Slice);
  const last = group[group.length - 1] as Slice;
  const lastPlace = placeOf(last);
  const place = placeOf(slice);
  if (place.kind !== 'p' || lastPlace.kind !== 'p' || place.epoch !== lastPlace.epoch) return false;
  const start = place.offset + slice.from;
  const end = lastPlace.offset + last.to;
  return (
    start >= end &&
    start - end <= GAP_BYTES &&
    place.offset + slice.to - first.offset <= GROUP_BYTES &&
    place.digest.equals(lastPlace.digest)
  );
}

function groupJob(source: Source, group: readonly Slice[]): AheadJob<Fetched<Buffer>> {
  const { objects, buffers } = source;
  const first = group[0];
  const last = group[group.length - 1];
  if (!first || !last) {
    return { bytes: 0, run: () => Promise.resolve({ parts: [], release: nothing }) };
  }
  const place = placeOf(first);
  if (place.kind === 'x') return linkJob(source, first);
  const start = place.offset + first.from;
  const length = placeOf(last).offset + last.to - start;
  return {
    bytes: length,
    run: async (signal) => {
      const into = length > PACKED_BYTES_MAX ? buffers?.take(length) : undefined;
      const fetched = (parts: Buffer[]): Fetched<Buffer> => ({
        parts,
        release: into && buffers ? () => buffers.give(into) : nothing,
      });
      const read = async (): Promise<Buffer[]> => {
        const bytes = await getRange(objects, place, { signal, start, length, into });
        return group.map((slice) => {
          const at = placeOf(slice).offset + slice.from - start;
          return bytes.subarray(at, at + slice.to - slice.from);
        });
      };
      const parts = await read();
      if (firstBad(group, parts) === undefined) return fetched(parts);
      // A flipped bit on the way is cured by a second read; one at rest is not.
      const again = await read();
      const bad = firstBad(group, again);
      if (bad === undefined) return fetched(again);
      const key = keyOf(objectOf(placeOf(bad)));
      throw corruptData(
        `object ${key} in ${objects.place} is damaged: bytes at ${placeOf(bad).offset} do not ` +
          'match their hash',
        { fields: { key, piece: bad.piece.hash.toString('hex') } },
      );
    },
  };
}

/** Bytes of a source: its ETag vouches for them, their hash is not known. */
function linkJob({ sources }: Source, slice: Slice): AheadJob<Fetched<Buffer>> {
  const offset = slice.from;
  const length = slice.to - slice.from;
  return {
    bytes: length,
    run: async (signal) => {
      const bytes = await sources.read(placeOf(slice), { signal, offset, length });
      return { parts: [bytes], release: nothing };
    },
  };
}

function firstBad(group: readonly Slice[], parts: readonly Buffer[]): Slice | undefined {
  return group.find((slice, index) => {
    const whole = slice.from === 0 && slice.to === slice.piece.size;
    return whole && !sha256(parts[index] as Buffer).equals(slice.piece.hash);
  });
}

async function getRange(
  objects: ObjectStore,
  place: PieceLocation,
  range: { signal: AbortSignal; start: number; length: number; into: Buffer | undefined },
): Promise<Buffer> {
  const key = keyOf(objectOf(place));
  const { signal, start: offset, length, into } = range;
  const bytes = await getExisting(objects, key, { signal, offset, length, into });
  if (bytes.length !== length) {
    throw corruptData(
      `object ${key} in ${objects.place} is too short: ${length} bytes wanted at ${offset}, ` +
        `${bytes.length} there`,
      { fields: { key } },
    );
  }
  return bytes;
}

/** `get`, where a missing object means damage: something refers to it. */
export async function getExisting(
  objects: ObjectStore,
  key: string,
  options: GetOptions,
): Promise<Buffer> {
  try {
    return await objects.get(key, options);
  } catch (error) {
    if (codeOf(error) !== 'NOT_FOUND') throw error;
    throw corruptData(`object ${key} is missing in ${objects.place}`, {
      cause: error,
      fields: { key },
    });
  }
}

function placeOf(slice: Slice): PieceLocation {
  const { location } = slice.piece;
  invariant(location, 'a piece is read only after its writer was flushed');
  return location;
}

function nothing(): void {
  // Fresh memory is left to the collector.
}
