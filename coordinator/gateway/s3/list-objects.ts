/** ListObjects of a branch. */
import {
  listObjectsV1 as answerV1,
  listObjectsV2 as answerV2,
  type Listing,
} from '../../../http/s3/listing.js';
import { openView, type GatewayDeps } from './bucket.js';
import type { BucketRequest } from './s3-request.js';
import { modifiedOf } from './stored-object.js';

export const listObjectsV1 = (deps: GatewayDeps, request: BucketRequest): Promise<void> =>
  answerV1(listingOf(deps, request), request);

export const listObjectsV2 = (deps: GatewayDeps, request: BucketRequest): Promise<void> =>
  answerV2(listingOf(deps, request), request);

function listingOf(deps: GatewayDeps, { bucket, exchange }: BucketRequest): Listing {
  return {
    name: bucket.text,
    trees: deps.storage.trees,
    open: async (version) => {
      const { root, commit } = await openView(deps, bucket, version, exchange);
      return {
        root,
        version: commit?.id ?? '',
        shownVersion: commit?.id,
        modifiedMs: (node) => modifiedOf(node, commit),
      };
    },
  };
}
