/**
 * What `transform.image` means on this worker: the host itself, a directory, or an image that podman
 * or docker fetches. An image is unpacked once and serves as the root of a slot's own sandbox, so a
 * datum costs a fork and no container start (docs/decisions/images.md).
 */
import { existsSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../core/clock.js';
import { codeOf, invalidInput, messageOf } from '../core/errors.js';
import type { Log } from '../core/log.js';
import type { Wait } from '../storage/types.js';
import type { ContainerEngine } from './engine.js';
import { readImageTable, ruleFor, type ImageRule } from './image-table.js';
import type { SlotPlace } from './spawner-protocol.js';

/** How the commands of one pipeline are run. */
export interface RunImage {
  /** Root directory; absent = the host's. */
  readonly rootfs?: string;
  readonly env: Readonly<Record<string, string>>;
  readonly user: string;
  readonly workingDir: string;
  readonly entrypoint: readonly string[];
  /** More of the host to show inside, read-only. */
  readonly mounts?: SlotPlace['mounts'];
  /** Worth a line in the log of every datum: the image is not what runs. */
  readonly note?: string;
}

/** What the log of whoever runs with the image should say first. */
export function notesOf({ note }: RunImage, ...more: readonly (string | undefined)[]): string[] {
  return [note, ...more].filter((one) => one !== undefined);
}

/** The image can not be used here. `final`: trying again will not help. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  constructor(
    message: string,
    readonly final: boolean,
  ) {
    super(message);
  }
}

export interface ImagesDeps {
  readonly engine: ContainerEngine | undefined;
  /** Where images are unpacked. */
  readonly dir: string;
  readonly tableFile: string | undefined;
  /** Sandboxes can have a root of their own. */
  readonly roots: boolean;
  /** Sandboxes can show more directories of the host. */
  readonly mounts: boolean;
  readonly log: Log;
  readonly clock: Clock;
}

const HOST: RunImage = { env: {}, user: '', workingDir: '', entrypoint: [] };
/** How long an answer holds before the engine is asked again. */
const KNOWN_MS = 5 * 60_000;
/** Unpacked images kept on disk. */
const UNPACKED_MAX = 16;

interface Known {
  readonly image: Promise<RunImage>;
  readonly untilMs: number;
}

export class Images {
  readonly #table: readonly ImageRule[];
  readonly #known = new Map<string, Known>();

  /** Reads the table; INVALID_INPUT says what is wrong in it. */
  constructor(readonly deps: ImagesDeps) {
    this.#table = deps.tableFile === undefined ? [] : readImageTable(deps.tableFile);
  }

  /** How to run the image's commands; pulls and unpacks it when it has to. Throws ImageError. */
  async resolve(image: string, wait: Wait): Promise<RunImage> {
    const rule = ruleFor(this.#table, image);
    const extra = { ...overrides(rule), ...this.#mounts(image, rule) };
    const fixed = { ...HOST, ...extra };
    const as = rule?.as ?? (this.deps.engine && this.deps.roots ? 'auto' : 'host');
    if (as === 'host' || (rule === undefined && image === '')) return fixed;
    if (as === 'unknown') {
      throw new ImageError(`image ${image} is not known to this worker's image table`, true);
    }
    if (typeof as === 'object') return { ...fixed, rootfs: this.#directory(image, as.rootfs) };
    const found = await this.#fromEngine(image, as, wait);
    return { ...found, ...extra, env: { ...found.env, ...extra.env } };
  }

  #mounts(image: string, rule: ImageRule | undefined): Pick<RunImage, 'mounts'> {
    const mounts = Object.entries(rule?.mounts ?? {});
    if (mounts.length === 0) return {};
    if (!this.deps.mounts) {
      throw new ImageError(`image ${image} has mounts: they need bubblewrap on the worker`, true);
    }
    for (const [inside, outside] of mounts) {
      if (existsSync(outside)) continue;
      throw new ImageError(`image ${image} shows ${outside} as ${inside}: it is not there`, false);
    }
    // Parents first.
    const sorted = mounts.sort(([a], [b]) => a.length - b.length);
    return { mounts: sorted.map(([inside, outside]) => [outside, inside] as const) };
  }

  #directory(image: string, rootfs: string): string {
    const why = !this.deps.roots
      ? 'needs bubblewrap on the worker'
      : existsSync(join(rootfs, 'bin/sh'))
        ? undefined
        : `has no /bin/sh in ${rootfs}`;
    if (why !== undefined) throw new ImageError(`image ${image} ${why}`, true);
    return rootfs;
  }

  async #fromEngine(image: string, as: 'container' | 'auto', wait: Wait): Promise<RunImage> {
    const now = this.deps.clock.monotonicMs();
    let known = this.#known.get(image);
    if (!known || known.untilMs < now) {
      const found = this.#fetch(image, as, wait);
      known = { image: found, untilMs: now + KNOWN_MS };
      this.#known.set(image, known);
      found.catch((error: unknown) => {
        // What is final stays so for a while; anything else is asked anew.
        if (!(error instanceof ImageError && error.final)) this.#known.delete(image);
      });
    }
    return known.image;
  }

  async #fetch(image: string, as: 'container' | 'auto', wait: Wait): Promise<RunImage> {
    const { engine, dir, log, roots } = this.deps;
    if (!engine || !roots) {
      const what = engine ? 'bubblewrap' : 'podman or docker';
      throw new ImageError(`image ${image} needs ${what} on the worker`, true);
    }
    try {
      let config = await engine.inspect(image, wait);
      if (!config) {
        log.info({ image, engine: engine.name }, 'pulling an image');
        try {
          await engine.pull(image, wait);
        } catch (error) {
          if (codeOf(error) !== 'UNAVAILABLE' || as !== 'auto') throw error;
          const note = `${messageOf(error)}; its commands run on the host`;
          log.warn({ image }, note);
          return { ...HOST, note };
        }
        config = await engine.inspect(image, wait);
      }
      if (!config) throw invalidInput(`${engine.name} pulled it and does not have it`);
      const rootfs = join(dir, config.id);
      await engine.unpack(image, rootfs, wait);
      this.#keepFew(config.id);
      this.#directory(image, rootfs);
      const { env, user, workingDir, entrypoint } = config;
      return { rootfs, env, user, workingDir, entrypoint };
    } catch (error) {
      if (error instanceof ImageError) throw error;
      wait.signal.throwIfAborted();
      // Only a registry that answered knows that there is no such image.
      throw new ImageError(messageOf(error), codeOf(error) === 'INVALID_INPUT');
    }
  }

  /** Removes the images that were not used for longest. */
  #keepFew(used: string): void {
    const { dir, clock } = this.deps;
    const now = clock.wallMs() / 1000;
    utimesSync(join(dir, used), now, now);
    const all = readdirSync(dir)
      .map((name) => ({ name, at: statSync(join(dir, name)).mtimeMs }))
      .sort((a, b) => b.at - a.at);
    for (const { name } of all.slice(UNPACKED_MAX)) {
      rmSync(join(dir, name), { recursive: true, force: true });
    }
  }
}

/** Whether the root has a setpriv of util-linux; busybox has one that can not change users. */
export function needsSu(rootfs: string): boolean {
  for (const file of ['usr/bin/setpriv', 'bin/setpriv']) {
    try {
      if (!readFileSync(join(rootfs, file)).includes('BusyBox')) return false;
    } catch {
      // Not there.
    }
  }
  return true;
}

function overrides(rule: ImageRule | undefined): Partial<RunImage> {
  const { user, workingDir, entrypoint, env } = rule ?? {};
  return {
    ...(env === undefined ? {} : { env }),
    ...(user === undefined ? {} : { user }),
    ...(workingDir === undefined ? {} : { workingDir }),
    ...(entrypoint === undefined ? {} : { entrypoint }),
  };
}
