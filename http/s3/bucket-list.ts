/** The answer to ListBuckets. */
import { isoTime } from './answers.js';
import { OWNER } from './listing.js';
import { document, tag } from './xml.js';

/** What we call the place: clients need some region to sign for. */
export const REGION = 'us-east-1';

/** `created` is wall time in milliseconds. */
export function bucketList(
  buckets: readonly { readonly name: string; readonly created: number }[],
): string {
  return document('ListAllMyBucketsResult', [
    OWNER,
    tag(
      'Buckets',
      buckets.map(({ name, created }) =>
        tag('Bucket', [tag('Name', name), tag('CreationDate', isoTime(created))]),
      ),
    ),
  ]);
}
