/**
 * Secrets of the tasks that run here: as variables, and as files that are mounted read-only. Files
 * lie in memory (/dev/shm) below a directory that only this worker's user can enter, and are gone
 * with the worker.
 */
import { createHash } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  constants,
  mkdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { stateConflict } from '../core/errors.js';
import { sha256Hex } from '../core/sha256.js';
import type { SecretValue } from '../proto/generated/tusk.js';
import type { JobSpec, WorkSecret } from '../queue/messages.js';
import type { Wait } from '../storage/types.js';
import type { Isolation, Mount } from './spawner-protocol.js';

export interface TaskSecrets {
  readonly env: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
}

export interface SecretsDeps {
  readonly isolation: Isolation;
  readonly dataDir: string;
  /** Asks the cluster; throws what it answers. */
  readonly ask: (
    of: { readonly pipeline: string; readonly specCommit: string },
    wait: Wait,
  ) => Promise<SecretValue[]>;
}

const NONE: TaskSecrets = { env: {}, mounts: [] };
const JOBS_MAX = 64;

export class WorkerSecrets implements Disposable {
  /** Job → what its tasks get; the same for all of them. */
  readonly #jobs = new Map<string, Promise<TaskSecrets>>();
  readonly #dir: string;

  constructor(readonly deps: SecretsDeps) {
    this.#dir = join(
      memoryDir(deps.dataDir),
      `tusk-secrets-${sha256Hex(deps.dataDir).slice(0, 12)}`,
    );
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** Throws what the cluster says when it does not give them now, and STATE_CONFLICT for mounts. */
  async of(spec: JobSpec, wait: Wait): Promise<TaskSecrets> {
    const key = `${spec.pipeline}/${spec.job}`;
    const known = this.#jobs.get(key);
    if (known) return known;
    const made = this.fresh(spec, wait);
    this.#jobs.set(key, made);
    made.catch(() => this.#jobs.delete(key));
    const [oldest] = this.#jobs.keys();
    if (this.#jobs.size > JOBS_MAX && oldest !== undefined) this.#jobs.delete(oldest);
    return made;
  }

  /** As `of`, with the values of this moment: for a process that is started (again). */
  async fresh(spec: JobSpec, wait: Wait): Promise<TaskSecrets> {
    const secrets = spec.transform.secrets ?? [];
    return secrets.length === 0 ? NONE : this.#make(spec, secrets, wait);
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }

  async #make(spec: JobSpec, secrets: readonly WorkSecret[], wait: Wait): Promise<TaskSecrets> {
    const wish = secrets.find(({ mountPath }) => mountPath !== '');
    if (wish && this.deps.isolation === 'plain') {
      throw new SecretRefused(
        `secret "${wish.name}" cannot be mounted at ${wish.mountPath}: this worker has no ` +
          'namespaces (isolation plain); install bubblewrap, or use env_var and key',
      );
    }
    const { pipeline, specCommit } = spec;
    const values = await this.deps.ask({ pipeline, specCommit }, wait);
    const env: Record<string, string> = {};
    const mounts: Mount[] = [];
    for (const secret of secrets) {
      const own = values.filter((value) => value.secret === secret.name);
      if (secret.envVar !== '') {
        const found = own.find(({ key }) => key === secret.key);
        if (!found) throw stateConflict(`secret "${secret.name}" has no key "${secret.key}"`);
        env[secret.envVar] = Buffer.from(found.value).toString();
      }
      if (secret.mountPath !== '') mounts.push([this.#files(own), secret.mountPath]);
    }
    return { env, mounts };
  }

  /** A directory with one file per key, named by what is in it: new values make a new sandbox. */
  #files(values: readonly SecretValue[]): string {
    const hash = createHash('sha256');
    for (const { key, value } of values) hash.update(`${key}\0${value.length}\0`).update(value);
    // The outer directory keeps other users of this machine out; inside, any user of the sandbox reads.
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    chmodSync(this.#dir, 0o700);
    const dir = join(this.#dir, hash.digest('hex').slice(0, 24));
    mkdirSync(dir, { recursive: true, mode: 0o755 });
    for (const { key, value } of values) {
      const file = join(dir, key);
      rmSync(file, { force: true });
      writeFileSync(file, value, { mode: 0o444 });
    }
    return dir;
  }
}

/** No task of this pipeline can have its secrets on this worker. */
export class SecretRefused extends Error {
  override readonly name = 'SecretRefused';
}

function memoryDir(fallback: string): string {
  try {
    accessSync('/dev/shm', constants.W_OK | constants.X_OK);
    return statSync('/dev/shm').isDirectory() ? '/dev/shm' : fallback;
  } catch {
    return fallback;
  }
}
