/** What clients say and hear about multipart uploads. */
import { isoTime, sendXml } from './answers.js';
import { sameTag } from './etag.js';
import { OWNER } from './listing.js';
import { numberOf, type Target } from './request.js';
import { invalidArgument, malformedXml, S3Error } from './s3-error.js';
import { childText, document, root, tag, type XmlElement } from './xml.js';

const PARTS_MAX = 10_000;
const PART_BYTES_MIN = 5 * 1024 * 1024;

/** A part that came. */
export interface Part {
  readonly number: number;
  readonly size: number;
  readonly etag: string;
  /** Wall time in milliseconds. */
  readonly at: number;
}

/** The answer to CreateMultipartUpload. */
export function initiated({ bucket, key }: Target, id: string): string {
  return document('InitiateMultipartUploadResult', [
    tag('Bucket', bucket),
    tag('Key', key),
    tag('UploadId', id),
  ]);
}

/** The answer to CompleteMultipartUpload, without declaration. */
export function completed({ exchange, bucket, key }: Target, etag: string): string {
  return root('CompleteMultipartUploadResult', [
    tag('Location', `http://${exchange.request.headers.host ?? ''}/${bucket}/${encodeURI(key)}`),
    tag('Bucket', bucket),
    tag('Key', key),
    tag('ETag', etag),
  ]);
}

/** Throws InvalidArgument. */
export function partNumberOf(query: URLSearchParams): number {
  const limits = { initial: 0, least: 1, most: PARTS_MAX };
  const number = numberOf(query, 'partNumber', limits);
  if (number === 0) throw invalidArgument('partNumber', '', 'partNumber is missing');
  return number;
}

/** A part that the client wants in the object. */
export interface ListedPart {
  readonly number: number;
  readonly etag: string;
}

/** The body of CompleteMultipartUpload. Throws S3Error. */
export function listedParts(body: XmlElement): ListedPart[] {
  const parts = body.children
    .filter(({ name }) => name === 'Part')
    .map((part) => {
      const number = Number(childText(part, 'PartNumber'));
      const etag = childText(part, 'ETag');
      if (!Number.isInteger(number) || etag === undefined) {
        throw malformedXml('a <Part> needs <PartNumber> and <ETag>');
      }
      return { number, etag };
    });
  if (body.name !== 'CompleteMultipartUpload' || parts.length === 0) {
    throw malformedXml('expected <CompleteMultipartUpload> with at least one <Part>');
  }
  for (const [index, { number }] of parts.entries()) {
    if (index > 0 && number <= (parts[index - 1] as ListedPart).number) {
      throw new S3Error(
        'InvalidPartOrder',
        400,
        'The list of parts was not in ascending order. The parts list must be specified in order by part number.',
      );
    }
  }
  return parts;
}

/** The parts that the client lists, checked against those that came. Throws S3Error. */
export function chosenParts<P extends Part>(
  upload: string,
  listed: readonly ListedPart[],
  there: ReadonlyMap<number, P>,
): P[] {
  return listed.map(({ number, etag }, index) => {
    const part = there.get(number);
    if (!part || !sameTag(part.etag, etag)) {
      throw new S3Error(
        'InvalidPart',
        400,
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
        { details: { UploadId: upload, PartNumber: String(number), ETag: etag } },
      );
    }
    if (index < listed.length - 1 && part.size < PART_BYTES_MIN) {
      throw new S3Error(
        'EntityTooSmall',
        400,
        'Your proposed upload is smaller than the minimum allowed size',
        {
          details: {
            ProposedSize: String(part.size),
            MinSizeAllowed: String(PART_BYTES_MIN),
            PartNumber: String(number),
          },
        },
      );
    }
    return part;
  });
}

/** Answers ListParts; `parts` gives those after a number, in order. */
export async function sendParts(
  { exchange, bucket, key, query }: Target,
  id: string,
  parts: (after: number) => AsyncIterable<Part> | Iterable<Part>,
): Promise<void> {
  const most = Number.MAX_SAFE_INTEGER;
  const count = Math.min(1000, numberOf(query, 'max-parts', { initial: 1000, least: 0, most }));
  const after = numberOf(query, 'part-number-marker', { initial: 0, least: 0, most });
  const found: Part[] = [];
  for await (const part of parts(Math.min(after, 99_999))) {
    found.push(part);
    if (found.length > count) break;
  }
  const shown = found.slice(0, count);
  const text = document('ListPartsResult', [
    tag('Bucket', bucket),
    tag('Key', key),
    tag('UploadId', id),
    tag('Initiator', [tag('ID', 'tusk'), tag('DisplayName', 'tusk')]),
    OWNER,
    tag('StorageClass', 'STANDARD'),
    tag('PartNumberMarker', after),
    tag('NextPartNumberMarker', shown.at(-1)?.number ?? after),
    tag('MaxParts', count),
    tag('IsTruncated', found.length > count),
    ...shown.map((part) =>
      tag('Part', [
        tag('PartNumber', part.number),
        tag('LastModified', isoTime(part.at)),
        tag('ETag', part.etag),
        tag('Size', part.size),
      ]),
    ),
  ]);
  await sendXml(exchange, text);
}
