/**
 * ListObjectVersions: every version of every key that is there now, newest first. A version is the
 * commit that brought it. Keys that were deleted are not listed: a version id still reads them.
 */
import type { TreeNode, Wait } from '../../../storage/types.js';
import { historyOf } from '../../versioning/files/file-history.js';
import type { FilesDeps } from '../../versioning/files/put-files.js';
import type { CommitRecord } from '../../versioning/model.js';
import { isoTime, sendXml } from '../../../http/s3/answers.js';
import { openView, type GatewayDeps, type View } from './bucket.js';
import { listParameters, listPage, OWNER, type PageRequest } from '../../../http/s3/listing.js';
import { readPath } from '../../../http/s3/object-key.js';
import type { BucketRequest } from './s3-request.js';
import { etagOf } from '../../../http/s3/etag.js';
import { modifiedOf } from './stored-object.js';
import { document, optional, tag, type Xml } from '../../../http/s3/xml.js';

interface Version {
  readonly key: string;
  readonly commit: CommitRecord;
  readonly node: TreeNode;
  readonly latest: boolean;
}

export async function listObjectVersions(deps: GatewayDeps, request: BucketRequest): Promise<void> {
  const { exchange, bucket, query } = request;
  const parameters = listParameters(request);
  const { encode, count, delimiter } = parameters;
  const keyMarker = query.get('key-marker') ?? '';
  const versionMarker = query.get('version-id-marker') ?? '';
  const view = await openView(deps, bucket, undefined, exchange);
  const at = { ...parameters, after: keyMarker || undefined };
  const found = await versionPage(deps, view, { ...at, versionMarker, count }, exchange);
  const text = document('ListVersionsResult', [
    tag('Name', bucket.text),
    tag('Prefix', encode(parameters.prefix)),
    tag('KeyMarker', encode(keyMarker)),
    tag('VersionIdMarker', versionMarker),
    tag('MaxKeys', count),
    optional('Delimiter', delimiter === '' ? undefined : encode(delimiter)),
    optional('EncodingType', parameters.encoding),
    tag('IsTruncated', found.next !== undefined),
    optional('NextKeyMarker', found.next && encode(found.next.key)),
    optional('NextVersionIdMarker', found.next?.version),
    ...found.versions.map((version) => versionElement(version, encode)),
    ...found.prefixes.map((prefix) => tag('CommonPrefixes', [tag('Prefix', encode(prefix))])),
  ]);
  await sendXml(exchange, text);
}

interface VersionPage {
  readonly versions: readonly Version[];
  readonly prefixes: readonly string[];
  readonly next: { readonly key: string; readonly version: string } | undefined;
}

async function versionPage(
  deps: GatewayDeps,
  view: View,
  request: PageRequest & { readonly versionMarker: string },
  wait: Wait,
): Promise<VersionPage> {
  const versions: Version[] = [];
  const history = historyIn(deps, view);
  const { versionMarker, after, count } = request;
  if (versionMarker !== '' && after !== undefined) {
    let passed = false;
    const node = await nodeOf(deps, view, after, wait);
    for await (const version of history(after, node, wait)) {
      if (passed) versions.push(version);
      if (version.commit.id === versionMarker) passed = true;
      if (versions.length > count) break;
    }
  }
  const page = await listPage(deps.storage.trees, view.root, { ...request, count }, wait);
  for (const { key, node } of page.keys) {
    if (versions.length > count) break;
    for await (const version of history(key, node, wait)) {
      versions.push(version);
      if (versions.length > count) break;
    }
  }
  const shown = versions.slice(0, count);
  const last = shown.at(-1);
  if (versions.length > count && last) {
    const prefixes = page.prefixes.filter((prefix) => prefix < last.key);
    return { versions: shown, prefixes, next: { key: last.key, version: last.commit.id } };
  }
  const next = page.next === undefined ? undefined : { key: page.next, version: '' };
  return { versions: shown, prefixes: page.prefixes, next };
}

/** Versions of single keys; the ancestors of the view are walked once for all of them. */
function historyIn(
  deps: GatewayDeps,
  view: View,
): (key: string, node: TreeNode | undefined, wait: Wait) => AsyncGenerator<Version> {
  const { commit } = view;
  const { versioning, storage } = deps;
  const lineage: CommitRecord[] = [];
  let source: AsyncIterator<CommitRecord> | undefined;
  const ancestry = async function* (from: CommitRecord, wait: Wait): AsyncGenerator<CommitRecord> {
    source ??= versioning.ancestry(from, wait)[Symbol.asyncIterator]();
    for (let at = 0; ; at += 1) {
      if (at === lineage.length) {
        const next = await source.next();
        if (next.done) return;
        lineage.push(next.value);
      }
      yield lineage[at] as CommitRecord;
    }
  };
  const filesDeps: FilesDeps = {
    storage,
    versioning: {
      writeTarget: (...args) => versioning.writeTarget(...args),
      registerRuns: (...args) => versioning.registerRuns(...args),
      oneShot: (...args) => versioning.oneShot(...args),
      resolveCommit: (...args) => versioning.resolveCommit(...args),
      openTree: (...args) => versioning.openTree(...args),
      ancestry,
    },
  };
  return async function* (key, node, wait) {
    if (!commit || !node) return;
    const path = `/${key.replace(/\/$/, '')}`;
    let latest = true;
    for await (const entry of historyOf(filesDeps, { commit, path, node }, -1, wait)) {
      yield { key, commit: entry.commit, node: entry.node, latest };
      latest = false;
    }
  };
}

async function nodeOf(
  deps: GatewayDeps,
  view: View,
  key: string,
  wait: Wait,
): Promise<TreeNode | undefined> {
  const at = readPath(key);
  return at && deps.storage.trees.lookup(view.root, at.path, wait);
}

function versionElement(version: Version, encode: (key: string) => string): Xml {
  const { key, commit, node, latest } = version;
  return tag('Version', [
    tag('Key', encode(key)),
    tag('VersionId', commit.id),
    tag('IsLatest', latest),
    tag('LastModified', isoTime(modifiedOf(node, commit))),
    tag('ETag', etagOf(node)),
    tag('Size', node.type === 'file' ? node.size : 0),
    OWNER,
    tag('StorageClass', 'STANDARD'),
  ]);
}
