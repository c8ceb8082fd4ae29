/** The worker's image table: which images mean what here (docs/worker.md). */
import { readFileSync } from 'node:fs';
import { isAbsolute, normalize } from 'node:path';
import { invalidInput, messageOf } from '../core/errors.js';

export interface ImageRule {
  /** `*` stands for anything; the first rule that fits counts. */
  readonly pattern: string;
  readonly as: 'host' | 'container' | 'auto' | 'unknown' | { readonly rootfs: string };
  readonly user?: string;
  readonly workingDir?: string;
  readonly entrypoint?: readonly string[];
  /** Variables beside those of the image, or of the worker where that is the host. */
  readonly env?: Readonly<Record<string, string>>;
  /** Directories of the host to show inside, read-only: path inside → path on the host. */
  readonly mounts?: Readonly<Record<string, string>>;
}

const KINDS: readonly unknown[] = ['host', 'container', 'auto', 'unknown'];

/** Reads `{"images":[{"pattern":"python:*","as":"container"}, …]}`. INVALID_INPUT names the fault. */
export function readImageTable(file: string): readonly ImageRule[] {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw invalidInput(`--images ${file}: ${messageOf(error)}`);
  }
  const list = (value as { images?: unknown } | null)?.images;
  if (!Array.isArray(list)) throw invalidInput(`--images ${file}: expected {"images": [ … ]}`);
  return list.map((entry, index) => readRule(entry, `--images ${file}: entry ${index + 1}`));
}

/** The first rule whose pattern fits. */
export function ruleFor(rules: readonly ImageRule[], image: string): ImageRule | undefined {
  return rules.find(({ pattern }) => matches(pattern, image));
}

function matches(pattern: string, image: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(image);
}

function readRule(entry: unknown, where: string): ImageRule {
  const { pattern, as, user, workingDir, entrypoint, env, mounts } = (entry ?? {}) as Record<
    string,
    unknown
  >;
  if (typeof pattern !== 'string' || pattern === '') {
    throw invalidInput(`${where}: "pattern" must be a name, where * stands for anything`);
  }
  const rootfs = (as as { rootfs?: unknown } | null | undefined)?.rootfs;
  const isRoot = typeof rootfs === 'string' && isAbsolute(rootfs);
  if (!KINDS.includes(as) && !isRoot) {
    throw invalidInput(
      `${where}: "as" must be "host", "container", "auto", "unknown" or {"rootfs": "/directory"}`,
    );
  }
  for (const [name, text] of Object.entries({ user, workingDir })) {
    if (text !== undefined && typeof text !== 'string') {
      throw invalidInput(`${where}: "${name}" must be a text`);
    }
  }
  const words = entrypoint as unknown[] | undefined;
  if (words !== undefined && !(Array.isArray(words) && words.every((w) => typeof w === 'string'))) {
    throw invalidInput(`${where}: "entrypoint" must be a list of words`);
  }
  if (env !== undefined && !isTexts(env)) {
    throw invalidInput(`${where}: "env" must be an object of texts`);
  }
  if (mounts !== undefined) checkMounts(mounts, where);
  return {
    pattern,
    as: isRoot ? { rootfs } : (as as 'host'),
    ...(user === undefined ? {} : { user: user as string }),
    ...(workingDir === undefined ? {} : { workingDir: workingDir as string }),
    ...(words === undefined ? {} : { entrypoint: words as string[] }),
    ...(env === undefined ? {} : { env }),
    ...(mounts === undefined ? {} : { mounts: mounts as Record<string, string> }),
  };
}

function isTexts(value: unknown): value is Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((text) => typeof text === 'string');
}

/** Where the sandbox has things of its own. */
const TAKEN = ['/pfs', '/proc', '/dev'];

function checkMounts(mounts: unknown, where: string): void {
  const isPath = (path: string): boolean => isAbsolute(path) && normalize(path) === path;
  if (!isTexts(mounts) || !Object.entries(mounts).flat().every(isPath)) {
    throw invalidInput(
      `${where}: "mounts" must be an object of absolute paths, like {"/code": "/srv/my-code"}`,
    );
  }
  for (const inside of Object.keys(mounts)) {
    if (inside === '/' || TAKEN.some((path) => `${inside}/`.startsWith(`${path}/`))) {
      throw invalidInput(`${where}: "mounts": ${inside} is taken by the sandbox itself`);
    }
  }
}
