/** ListObjects, version 1 and 2: a page of keys, found in time that follows the page. */
import type { DirNode, TreeNode, Wait } from '../../storage/types.js';
import type { Exchange } from '../http-server.js';
import { isoTime, sendXml } from './answers.js';
import { etagOf } from './etag.js';
import { listKeys, type Listed, type ListTrees } from './key-lister.js';
import { encodeKey } from './object-key.js';
import { numberOf } from './request.js';
import { invalidArgument } from './s3-error.js';
import { document, optional, tag, type Xml } from './xml.js';

/** What is listed. */
export interface Listing {
  readonly name: string;
  readonly trees: ListTrees;
  /** At a version that a token of this listing names, or as it is now. */
  open(version: string | undefined): Promise<ListView>;
}

export interface ListView {
  readonly root: DirNode;
  /** Goes into tokens. */
  readonly version: string;
  /** Goes into headers. */
  readonly shownVersion?: string | undefined;
  modifiedMs(node: TreeNode): number;
}

export interface ListRequest {
  readonly exchange: Exchange;
  readonly query: URLSearchParams;
}

export const PAGE_MAX = 1000;
/** Sorts behind everything that begins with what it is put after. */
const LAST = '\u{10FFFF}';

export interface PageRequest {
  readonly prefix: string;
  readonly delimiter: string;
  readonly after: string | undefined;
  readonly count: number;
}

export interface Page {
  readonly keys: readonly Exclude<Listed, { kind: 'prefix' }>[];
  readonly prefixes: readonly string[];
  /** Where the next page goes on; undefined: this is the last. */
  readonly next: string | undefined;
}

/** One page of a view. */
export async function listPage(
  trees: ListTrees,
  root: DirNode,
  request: PageRequest,
  wait: Wait,
): Promise<Page> {
  const keys: Exclude<Listed, { kind: 'prefix' }>[] = [];
  const prefixes: string[] = [];
  let last: string | undefined;
  if (request.count === 0) return { keys, prefixes, next: undefined };
  for await (const listed of rolled(trees, root, request, wait)) {
    if (keys.length + prefixes.length === request.count) return { keys, prefixes, next: last };
    if (listed.kind === 'prefix') prefixes.push(listed.key);
    else keys.push(listed);
    last = listed.key;
  }
  return { keys, prefixes, next: undefined };
}

/** Keys, and prefixes up to the delimiter, each once. */
async function* rolled(
  trees: ListTrees,
  root: DirNode,
  { prefix, delimiter, after }: PageRequest,
  wait: Wait,
): AsyncGenerator<Listed> {
  const { signal } = wait;
  if (delimiter === '' || delimiter === '/') {
    yield* listKeys(trees, root, { signal, prefix, after, flat: delimiter === '' });
    return;
  }
  let from = after?.endsWith(delimiter) ? after + LAST : after;
  for (;;) {
    let group: string | undefined;
    for await (const listed of listKeys(trees, root, {
      signal,
      prefix,
      after: from,
      flat: true,
    })) {
      const at = listed.key.indexOf(delimiter, prefix.length);
      if (at >= 0) {
        group = listed.key.slice(0, at + delimiter.length);
        break;
      }
      yield listed;
    }
    if (group === undefined) return;
    yield { kind: 'prefix', key: group };
    // What else is in the group is passed by, not read.
    from = group + LAST;
  }
}

interface ListParameters {
  readonly prefix: string;
  readonly delimiter: string;
  readonly count: number;
  readonly encode: (key: string) => string;
  readonly encoding: string | undefined;
}

/** What all listings have in common. Throws InvalidArgument. */
export function listParameters(
  { query }: { readonly query: URLSearchParams },
  limit = 'max-keys',
): ListParameters {
  const encoding = query.get('encoding-type') ?? undefined;
  if (encoding !== undefined && encoding !== 'url') {
    throw invalidArgument(
      'encoding-type',
      encoding,
      'Invalid Encoding Method specified in Request',
    );
  }
  const most = { initial: PAGE_MAX, least: 0, most: 2_147_483_647 };
  return {
    prefix: query.get('prefix') ?? '',
    delimiter: query.get('delimiter') ?? '',
    count: Math.min(PAGE_MAX, numberOf(query, limit, most)),
    encode: encoding === undefined ? (key) => key : encodeKey,
    encoding,
  };
}

export async function listObjectsV1(listing: Listing, request: ListRequest): Promise<void> {
  const { exchange, query } = request;
  const parameters = listParameters(request);
  const { encode } = parameters;
  const marker = query.get('marker') ?? '';
  const view = await listing.open(undefined);
  const after = marker || undefined;
  const page = await listPage(listing.trees, view.root, { ...parameters, after }, exchange);
  const text = document('ListBucketResult', [
    tag('Name', listing.name),
    tag('Prefix', encode(parameters.prefix)),
    tag('Marker', encode(marker)),
    ...common(parameters, page),
    optional('NextMarker', page.next && encode(page.next)),
    ...contents(page, view, { encode, owner: true }),
  ]);
  await sendXml(exchange, text, versionHeader(view));
}

export async function listObjectsV2(listing: Listing, request: ListRequest): Promise<void> {
  const { exchange, query } = request;
  const parameters = listParameters(request);
  const { encode } = parameters;
  const token = query.get('continuation-token') ?? undefined;
  const startAfter = query.get('start-after') ?? undefined;
  const from = token === undefined ? undefined : decodeToken(token);
  const view = await listing.open(from?.version);
  const after = from?.after ?? (startAfter || undefined);
  const page = await listPage(listing.trees, view.root, { ...parameters, after }, exchange);
  const owner = query.get('fetch-owner') === 'true';
  const text = document('ListBucketResult', [
    tag('Name', listing.name),
    tag('Prefix', encode(parameters.prefix)),
    optional('StartAfter', startAfter && encode(startAfter)),
    ...common(parameters, page),
    tag('KeyCount', page.keys.length + page.prefixes.length),
    optional('ContinuationToken', token),
    optional('NextContinuationToken', page.next && encodeToken(view, page.next)),
    ...contents(page, view, { encode, owner }),
  ]);
  await sendXml(exchange, text, versionHeader(view));
}

function common(parameters: ListParameters, page: Page): (Xml | undefined)[] {
  const { delimiter, encode } = parameters;
  return [
    tag('MaxKeys', parameters.count),
    optional('Delimiter', delimiter === '' ? undefined : encode(delimiter)),
    optional('EncodingType', parameters.encoding),
    tag('IsTruncated', page.next !== undefined),
  ];
}

function contents(
  page: Page,
  view: ListView,
  options: { readonly encode: (key: string) => string; readonly owner: boolean },
): Xml[] {
  const { encode } = options;
  return [
    ...page.keys.map(({ key, node }) =>
      tag('Contents', [
        tag('Key', encode(key)),
        tag('LastModified', isoTime(view.modifiedMs(node))),
        tag('ETag', etagOf(node)),
        tag('Size', node.size),
        options.owner ? OWNER : undefined,
        tag('StorageClass', 'STANDARD'),
      ]),
    ),
    ...page.prefixes.map((prefix) => tag('CommonPrefixes', [tag('Prefix', encode(prefix))])),
  ];
}

/** While there is no access control everything is of one owner. */
export const OWNER = tag('Owner', [tag('ID', 'tusk'), tag('DisplayName', 'tusk')]);

/**
 * A token goes on in the version that the listing began with, so that a listing of many pages shows
 * one moment.
 */
function encodeToken(view: ListView, after: string): string {
  return Buffer.from(JSON.stringify([view.version, after])).toString('base64url');
}

function decodeToken(token: string): { version: string; after: string } {
  try {
    const [version, after] = JSON.parse(Buffer.from(token, 'base64url').toString()) as unknown[];
    if (typeof version === 'string' && version !== '' && typeof after === 'string') {
      return { version, after };
    }
  } catch {
    // Said below.
  }
  throw invalidArgument(
    'continuation-token',
    token.slice(0, 1024),
    'The continuation token provided is incorrect',
  );
}

function versionHeader(view: ListView): Record<string, string> {
  return view.shownVersion === undefined ? {} : { 'x-amz-version-id': view.shownVersion };
}
