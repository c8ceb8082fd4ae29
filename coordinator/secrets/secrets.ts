/**
 * Secrets: values that code needs and that nobody reads in specs, logs or stores.
 *
 * Z1 etcd holds them sealed; the key lies on the coordinator's machine only.
 * Z2 A value leaves the coordinator in one answer alone: to a joined worker, for a job that runs,
 *    and only what that job's pipeline names.
 */
import type { Clock } from '../../core/clock.js';
import { alreadyExists, codeOf, notFound, stateConflict, wrap } from '../../core/errors.js';
import type { PipelineInfo, SecretMount } from '../../proto/generated/pps.js';
import type { Wait } from '../../storage/types.js';
import type { Meta } from '../meta/index.js';
import type { Box, Sealed } from './box.js';
import { parseManifest } from './manifest.js';

/** `sec/<name>` */
export interface SecretRecord extends Sealed {
  readonly name: string;
  readonly type: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdMs: number;
  /** Names of the values, not the values. */
  readonly keys: readonly string[];
}

export interface SecretsDeps {
  readonly meta: Meta;
  readonly box: Box;
  readonly clock: Clock;
}

/** Key → bytes of one secret. */
export type SecretValues = Readonly<Record<string, Buffer>>;

export const SECRETS = 'sec/';
export const secretKey = (name: string): string => `${SECRETS}${name}`;

export class Secrets {
  constructor(readonly deps: SecretsDeps) {}

  /** Stores a secret from the JSON of a v1 Secret. ALREADY_EXISTS, INVALID_INPUT. */
  async create(file: Uint8Array, wait: Wait): Promise<SecretRecord> {
    const { name, type, labels, data } = parseManifest(file);
    const record: SecretRecord = {
      name,
      type,
      labels,
      createdMs: this.deps.clock.wallMs(),
      keys: Object.keys(data).sort(),
      ...this.deps.box.seal(name, Buffer.from(JSON.stringify(data))),
    };
    await this.deps.meta.transact(
      async (t) => {
        if (await t.get(secretKey(name))) {
          throw alreadyExists(`failed to create secret: secrets "${name}" already exists`);
        }
        t.putJson(secretKey(name), record);
      },
      { ...wait, label: 'create a secret' },
    );
    return record;
  }

  /** NOT_FOUND. */
  async inspect(name: string, wait: Wait): Promise<SecretRecord> {
    const record = await this.#record(name, wait);
    if (!record) throw missing('get', name);
    return record;
  }

  async list(wait: Wait): Promise<SecretRecord[]> {
    const records: SecretRecord[] = [];
    for await (const kv of this.deps.meta.scan(SECRETS, wait)) {
      records.push(JSON.parse(kv.value.toString()) as SecretRecord);
    }
    return records;
  }

  /** NOT_FOUND. Pipelines that use it stand still until it is there again. */
  async delete(name: string, wait: Wait): Promise<void> {
    await this.deps.meta.transact(
      async (t) => {
        if (name === '' || !(await t.get(secretKey(name)))) throw missing('delete', name);
        t.delete(secretKey(name));
      },
      { ...wait, label: 'delete a secret' },
    );
  }

  async deleteAll(wait: Wait): Promise<void> {
    await this.deps.meta.transact(async (t) => t.deletePrefix(SECRETS), {
      ...wait,
      label: 'delete all secrets',
    });
  }

  /** Why a pipeline can not have its secrets now; undefined when it can (or wants none). */
  async trouble(info: PipelineInfo, wait: Wait): Promise<string | undefined> {
    for (const mount of info.transform?.secrets ?? []) {
      const record = await this.#record(mount.name, wait);
      if (!record) {
        return (
          `secret "${mount.name}" not found: ` +
          'create it with `create secret -f FILE`, or take it out of transform.secrets'
        );
      }
      if (mount.envVar !== '' && !record.keys.includes(mount.key)) {
        return `secret "${mount.name}" has no key "${mount.key}"; it has ${record.keys.join(', ')}`;
      }
      if (record.keyId !== this.deps.box.keyId) {
        try {
          this.deps.box.open(record.name, record);
        } catch (error) {
          return (error as Error).message;
        }
      }
    }
    return undefined;
  }

  /** What the mounts of a pipeline need and nothing else. Throws STATE_CONFLICT with the trouble. */
  async valuesFor(info: PipelineInfo, wait: Wait): Promise<Map<string, SecretValues>> {
    const why = await this.trouble(info, wait);
    if (why !== undefined) throw stateConflict(why);
    const found = new Map<string, SecretValues>();
    for (const mount of info.transform?.secrets ?? []) {
      const values = await this.#open(mount.name, wait);
      found.set(mount.name, { ...found.get(mount.name), ...wanted(mount, values) });
    }
    return found;
  }

  async #open(name: string, wait: Wait): Promise<SecretValues> {
    const record = await this.inspect(name, wait);
    const plain = this.deps.box.open(name, record).toString();
    const data = JSON.parse(plain) as Record<string, string>;
    return Object.fromEntries(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64')]),
    );
  }

  async #record(name: string, wait: Wait): Promise<SecretRecord | undefined> {
    if (name === '') return undefined;
    try {
      return await this.deps.meta.getJson<SecretRecord>(secretKey(name), wait);
    } catch (error) {
      throw codeOf(error) === 'INTERNAL' ? error : wrap('failed to get secret', error);
    }
  }
}

/** Without a path to mount at, one value is all that is needed. */
function wanted(mount: SecretMount, values: SecretValues): SecretValues {
  if (mount.mountPath !== '') return values;
  const value = values[mount.key];
  return value ? { [mount.key]: value } : {};
}

function missing(what: 'get' | 'delete', name: string): Error {
  return notFound(`failed to ${what} secret: secrets "${name}" not found`);
}
