/**
 * Settings of buckets and objects that S3 knows and we do not have. Asking what is set gets the true
 * answer (nothing); setting something is refused.
 */
import { xmlBody } from '../../../http/s3/request.js';
import { sendEmpty, sendXml } from '../../../http/s3/answers.js';
import { needBucket, openView, type GatewayDeps } from './bucket.js';
import { OWNER } from '../../../http/s3/listing.js';
import type { BucketRequest } from './s3-request.js';
import { malformedXml, notImplemented, S3Error } from '../../../http/s3/s3-error.js';
import { needObject } from './stored-object.js';
import { childText, document, tag } from '../../../http/s3/xml.js';

type Nothing = { readonly code: string; readonly text: string } | { readonly xml: () => string };

const acl = (): string =>
  document('AccessControlPolicy', [
    OWNER,
    tag('AccessControlList', [
      {
        xml:
          '<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser">' +
          '<ID>tusk</ID><DisplayName>tusk</DisplayName></Grantee><Permission>FULL_CONTROL</Permission></Grant>',
      },
    ]),
  ]);

const BUCKET_SETTINGS: Readonly<Record<string, Nothing>> = {
  acl: { xml: acl },
  accelerate: { xml: () => document('AccelerateConfiguration', '') },
  analytics: {
    xml: () => document('ListBucketAnalyticsConfigurationResult', [tag('IsTruncated', false)]),
  },
  cors: { code: 'NoSuchCORSConfiguration', text: 'The CORS configuration does not exist' },
  encryption: {
    code: 'ServerSideEncryptionConfigurationNotFoundError',
    text: 'The server side encryption configuration was not found',
  },
  inventory: {
    xml: () => document('ListInventoryConfigurationsResult', [tag('IsTruncated', false)]),
  },
  'intelligent-tiering': {
    xml: () =>
      document('ListBucketIntelligentTieringConfigurationsOutput', [tag('IsTruncated', false)]),
  },
  lifecycle: {
    code: 'NoSuchLifecycleConfiguration',
    text: 'The lifecycle configuration does not exist',
  },
  logging: { xml: () => document('BucketLoggingStatus', '') },
  metrics: { xml: () => document('ListMetricsConfigurationsResult', [tag('IsTruncated', false)]) },
  notification: { xml: () => document('NotificationConfiguration', '') },
  'object-lock': {
    code: 'ObjectLockConfigurationNotFoundError',
    text: 'Object Lock configuration does not exist for this bucket',
  },
  ownershipControls: {
    code: 'OwnershipControlsNotFoundError',
    text: 'The bucket ownership controls were not found',
  },
  policy: { code: 'NoSuchBucketPolicy', text: 'The bucket policy does not exist' },
  policyStatus: { code: 'NoSuchBucketPolicy', text: 'The bucket policy does not exist' },
  publicAccessBlock: {
    code: 'NoSuchPublicAccessBlockConfiguration',
    text: 'The public access block configuration was not found',
  },
  replication: {
    code: 'ReplicationConfigurationNotFoundError',
    text: 'The replication configuration was not found',
  },
  requestPayment: {
    xml: () => document('RequestPaymentConfiguration', [tag('Payer', 'BucketOwner')]),
  },
  tagging: { code: 'NoSuchTagSet', text: 'The TagSet does not exist' },
  website: { code: 'NoSuchWebsiteConfiguration', text: 'The website configuration does not exist' },
};

const OBJECT_SETTINGS: Readonly<Record<string, Nothing>> = {
  acl: { xml: acl },
  tagging: { xml: () => document('Tagging', [tag('TagSet')]) },
  'legal-hold': {
    code: 'NoSuchObjectLockConfiguration',
    text: 'The specified object does not have a ObjectLock configuration',
  },
  retention: {
    code: 'NoSuchObjectLockConfiguration',
    text: 'The specified object does not have a ObjectLock configuration',
  },
};

/** Parameters that ask for something else than the object or the listing. */
const OTHERS = ['restore', 'select', 'torrent', 'renameObject', 'session'];

/** The setting a request is about; undefined: none. */
export function settingOf({ query, key }: BucketRequest): string | undefined {
  const known = key === '' ? BUCKET_SETTINGS : OBJECT_SETTINGS;
  return [...Object.keys(known), ...OTHERS].find((name) => query.has(name));
}

/** Answers a request about a setting. */
export async function settings(
  deps: GatewayDeps,
  request: BucketRequest,
  name: string,
): Promise<void> {
  const { exchange, bucket, key, method, query } = request;
  const nothing = (key === '' ? BUCKET_SETTINGS : OBJECT_SETTINGS)[name];
  if (!nothing || (method !== 'GET' && method !== 'HEAD')) {
    throw notImplemented(`Setting ${name}`);
  }
  if (key === '') await needBucket(deps, bucket, exchange);
  else {
    const view = await openView(deps, bucket, query.get('versionId') ?? undefined, exchange);
    await needObject(deps, view, key, exchange);
  }
  if ('code' in nothing) throw new S3Error(nothing.code, 404, nothing.text);
  await sendXml(exchange, nothing.xml());
}

/** PutBucketVersioning: it is always on. */
export async function putBucketVersioning(
  deps: GatewayDeps,
  request: BucketRequest,
): Promise<void> {
  await needBucket(deps, request.bucket, request.exchange);
  const body = await xmlBody(request);
  const status = childText(body, 'Status')?.trim();
  if (status === undefined) throw malformedXml('expected <Status>');
  if (status !== 'Enabled') throw notImplemented('Turning versioning off');
  await sendEmpty(request.exchange, 200);
}
