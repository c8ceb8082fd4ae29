/**
 * Settings of a coordinator: a JSON file, checked once into one frozen object. Secrets come from
 * the environment only and never stand in the printable part.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { invalidInput, messageOf } from '../core/errors.js';

export interface CoordinatorConfig {
  /** host:port of the gRPC server; port 0 = any free one. */
  readonly listen: string;
  readonly etcd: readonly string[];
  readonly nats: string;
  /** The NATS address workers are told, when it differs from ours. */
  readonly natsForWorkers: string;
  /** `dir:///abs/path` or `s3://bucket/prefix?endpoint=…`. */
  readonly store: string;
  readonly dataDir: string;
  readonly logFile: string | undefined;
  readonly logLevel: string;
  readonly logPretty: boolean;
  /** host:port of the S3 gateway and of the HTTP API; absent = off, port 0 = any free one. */
  readonly s3Listen: string | undefined;
  readonly httpListen: string | undefined;
  /** host:port that git servers tell of pushes. */
  readonly webhookListen: string | undefined;
  /** Seconds between two looks at a git input; 0 = only webhooks. */
  readonly gitPollSeconds: number;
  /** Settings among these two whose port, when it is taken, gives way to a free one. */
  readonly giveWay: readonly string[];
  /** The port in use is written here once the server answers (JSON). */
  readonly readyFile: string | undefined;
  /** The directory of this machine that local:// urls may read; none: they are refused. */
  readonly localSources: string | undefined;
  /** The key that secrets are sealed with; made when it is not there. */
  readonly secretsKeyFile: string;
  /** The directory of this machine that egress to local:// may write; none: it is refused. */
  readonly localTargets: string | undefined;
}

export interface CoordinatorSecrets {
  readonly s3: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined;
  /** What git servers sign their webhooks with; none: anybody may tell of a push. */
  readonly webhook: string | undefined;
}

const KEYS = new Set([
  'listen',
  'etcd',
  'nats',
  'natsForWorkers',
  'store',
  'dataDir',
  'logFile',
  'logLevel',
  'logPretty',
  's3Listen',
  'httpListen',
  'webhookListen',
  'gitPollSeconds',
  'giveWay',
  'readyFile',
  'localSources',
  'localTargets',
  'secretsKeyFile',
]);

/** Reads and checks a config file. Throws INVALID_INPUT naming the file and the setting. */
export function loadConfig(file: string): CoordinatorConfig {
  let raw: unknown;
  try {
    raw = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw invalidInput(`cannot read the coordinator's config ${file}: ${messageOf(error)}`);
  }
  return parseConfig(raw, file);
}

export function parseConfig(raw: unknown, file: string): CoordinatorConfig {
  if (typeof raw !== 'object' || raw === null) throw invalidInput(`${file}: not a JSON object`);
  const settings = raw as Record<string, unknown>;
  for (const key of Object.keys(settings)) {
    if (!KEYS.has(key)) {
      throw invalidInput(`${file}: unknown setting "${key}"; known are ${[...KEYS].join(', ')}`);
    }
  }
  const text = (key: string, fallback?: string): string => {
    const value = settings[key] ?? fallback;
    if (typeof value !== 'string' || value === '') {
      throw invalidInput(`${file}: setting "${key}" must be a non-empty string`);
    }
    return value;
  };
  const optional = (key: string): string | undefined =>
    settings[key] === undefined ? undefined : text(key);
  const etcd = settings['etcd'];
  if (!Array.isArray(etcd) || etcd.length === 0 || etcd.some((url) => typeof url !== 'string')) {
    throw invalidInput(`${file}: setting "etcd" must be a list of URLs like http://127.0.0.1:2379`);
  }
  const address = (key: string): string | undefined => {
    const value = optional(key);
    if (value === undefined || /^.+:\d{1,5}$/.test(value)) return value;
    throw invalidInput(`${file}: setting "${key}" must be host:port, got "${value}"`);
  };
  return Object.freeze({
    listen: text('listen', '127.0.0.1:30650'),
    etcd: etcd as string[],
    nats: text('nats'),
    natsForWorkers: text('natsForWorkers', text('nats')),
    store: text('store'),
    dataDir: text('dataDir'),
    logFile: optional('logFile'),
    logLevel: text('logLevel', 'info'),
    logPretty: settings['logPretty'] === true,
    s3Listen: address('s3Listen'),
    httpListen: address('httpListen'),
    webhookListen: address('webhookListen'),
    gitPollSeconds: secondsOf(settings['gitPollSeconds'], file),
    giveWay: giveWayOf(settings['giveWay'], file),
    readyFile: optional('readyFile'),
    localSources: optional('localSources'),
    localTargets: optional('localTargets'),
    secretsKeyFile: text('secretsKeyFile', join(text('dataDir'), 'secrets.key')),
  });
}

const GIT_POLL_SECONDS = 60;

function secondsOf(value: unknown, file: string): number {
  if (value === undefined) return GIT_POLL_SECONDS;
  if (typeof value === 'number' && value >= 0 && value <= 86_400) return value;
  throw invalidInput(`${file}: setting "gitPollSeconds" must be a number from 0 to 86400`);
}

const SIDE_DOORS = ['s3Listen', 'httpListen', 'webhookListen'];

function giveWayOf(value: unknown, file: string): readonly string[] {
  if (value === undefined) return [];
  if (Array.isArray(value) && value.every((name) => SIDE_DOORS.includes(name as string))) {
    return value as string[];
  }
  throw invalidInput(`${file}: setting "giveWay" must be a list of ${SIDE_DOORS.join(', ')}`);
}

/** Credentials of the object store, from the variables every S3 tool uses, and of webhooks. */
export function loadSecrets(env: NodeJS.ProcessEnv): CoordinatorSecrets {
  const accessKeyId = env['AWS_ACCESS_KEY_ID'];
  const secretAccessKey = env['AWS_SECRET_ACCESS_KEY'];
  if ((accessKeyId === undefined) !== (secretAccessKey === undefined)) {
    throw invalidInput('set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither');
  }
  return {
    s3: accessKeyId && secretAccessKey ? { accessKeyId, secretAccessKey } : undefined,
    webhook: env['TUSK_WEBHOOK_SECRET'] || undefined,
  };
}
