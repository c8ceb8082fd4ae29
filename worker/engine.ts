/** podman or docker: looks images up, pulls them, and unpacks them into directories. */
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { invalidInput, messageOf, unavailable } from '../core/errors.js';
import type { Wait } from '../storage/types.js';

/** What an image says about how it wants to be run. */
export interface ImageConfig {
  readonly id: string;
  readonly env: Readonly<Record<string, string>>;
  readonly user: string;
  readonly workingDir: string;
  readonly entrypoint: readonly string[];
}

interface Said {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

const LOOK_MS = 30_000;
const PULL_MS = 30 * 60_000;
const UNPACK_MS = 10 * 60_000;
const OUTPUT_BYTES_MAX = 4 * 1024 * 1024;
/** A registry that answers, and says no. */
const REFUSED =
  /manifest unknown|not found|does not exist|denied|unauthorized|authentication required|invalid reference|name unknown|404|403|401/i;
/** The registry was not reached: names are not resolved, nobody listens, no route. */
const UNREACHABLE =
  /no such host|server misbehaving|connection refused|timeout|no route|unreachable/i;

/** The engine that answers; undefined when there is none. */
export async function findEngine(
  wanted: 'auto' | 'podman' | 'docker' | 'none',
  wait: Wait,
): Promise<ContainerEngine | undefined> {
  const names = wanted === 'auto' ? (['podman', 'docker'] as const) : [wanted];
  for (const name of names) {
    if (name === 'none') return undefined;
    const asks = name === 'docker' ? '{{.Server.Version}}' : '{{.Client.Version}}';
    const { code } = await call(name, ['version', '--format', asks], LOOK_MS, wait);
    if (code === 0) return new ContainerEngine(name);
    if (wanted === name) {
      throw invalidInput(`--engine ${name}: '${name} version' does not work on this machine`);
    }
  }
  return undefined;
}

export class ContainerEngine {
  constructor(readonly name: 'podman' | 'docker') {}

  /** The image on this machine, undefined when it has to be pulled. */
  async inspect(image: string, wait: Wait): Promise<ImageConfig | undefined> {
    for (const name of new Set([image, qualified(image)])) {
      const said = await this.#call(['image', 'inspect', name], LOOK_MS, wait);
      if (said.code === 0) return readConfig(said.out);
    }
    return undefined;
  }

  /**
   * Fetches the image. INVALID_INPUT: the registry says that there is no such image (for us);
   * UNAVAILABLE: it could not be asked.
   */
  async pull(image: string, wait: Wait): Promise<void> {
    const said = await this.#call(['pull', '-q', qualified(image)], PULL_MS, wait);
    if (said.code === 0) return;
    wait.signal.throwIfAborted();
    const why = lastLine(said.error);
    const text = `image ${image} could not be pulled: ${why}`;
    if (UNREACHABLE.test(why) || !REFUSED.test(why)) throw unavailable(text);
    throw invalidInput(text);
  }

  /** Writes the image's files into `dir`, which appears whole or not at all. */
  async unpack(image: string, dir: string, wait: Wait): Promise<void> {
    if (existsSync(dir)) return;
    const temp = `${dir}.${process.pid}.part`;
    rmSync(temp, { recursive: true, force: true });
    mkdirSync(temp, { recursive: true, mode: 0o755 });
    // The command is never run; images without one need it to be created from.
    const made = await this.#call(['create', image, '/bin/true'], LOOK_MS, wait);
    if (made.code !== 0) throw new Error(`image ${image}: ${lastLine(made.error)}`);
    const container = made.out.trim().split('\n').at(-1) ?? '';
    try {
      await this.#export(container, temp, wait);
      prepareRoot(temp);
      renameSync(temp, dir);
    } catch (error) {
      rmSync(temp, { recursive: true, force: true });
      throw error;
    } finally {
      await this.#call(['rm', '-f', container], LOOK_MS, { signal: AbortSignal.timeout(LOOK_MS) });
    }
  }

  async #export(container: string, dir: string, wait: Wait): Promise<void> {
    // By way of a file: podman opens its output by name, which a socket does not have.
    const file = `${dir}.tar`;
    try {
      const exported = await this.#call(['export', '-o', file, container], UNPACK_MS, wait);
      if (exported.code !== 0) throw new Error(lastLine(exported.error));
      const args = ['-x', '--numeric-owner', '-p', '-C', dir, '-f', file];
      const unpacked = await call('tar', args, UNPACK_MS, wait);
      if (unpacked.code !== 0) throw new Error(firstLine(unpacked.error));
    } catch (error) {
      wait.signal.throwIfAborted();
      const why = messageOf(error);
      throw new Error(`the image could not be unpacked into ${dir}: ${why}`, { cause: error });
    } finally {
      rmSync(file, { force: true });
    }
  }

  #call(args: readonly string[], timeoutMs: number, wait: Wait): Promise<Said> {
    return call(this.name, args, timeoutMs, wait);
  }
}

/** Short names mean Docker Hub, as docker has it. */
export function qualified(image: string): string {
  const [first = '', ...rest] = image.split('/');
  if (rest.length === 0) return `docker.io/library/${image}`;
  return /[.:]|^localhost$/.test(first) ? image : `docker.io/${image}`;
}

/** The answer of `image inspect`. */
export function readConfig(text: string): ImageConfig {
  const [found] = JSON.parse(text) as {
    Id?: string;
    Config?: {
      Env?: string[] | null;
      User?: string;
      WorkingDir?: string;
      Entrypoint?: string[] | null;
    };
  }[];
  const config = found?.Config ?? {};
  const env = (config.Env ?? []).map((one): [string, string] => {
    const at = one.indexOf('=');
    return at < 0 ? [one, ''] : [one.slice(0, at), one.slice(at + 1)];
  });
  return {
    id: (found?.Id ?? '').replace(/^sha256:/, ''),
    env: Object.fromEntries(env),
    user: config.User ?? '',
    workingDir: config.WorkingDir ?? '',
    entrypoint: config.Entrypoint ?? [],
  };
}

/** Mount points, and files that stand for the host's: a worker that is not root cannot add them. */
function prepareRoot(dir: string): void {
  for (const name of ['pfs', 'proc', 'dev', 'sys', 'tmp', 'etc']) {
    mkdirSync(join(dir, name), { recursive: true });
  }
  chmodSync(join(dir, 'tmp'), 0o1777);
  for (const name of ['resolv.conf', 'hosts']) {
    const file = join(dir, 'etc', name);
    if (!existsSync(file)) writeFileSync(file, '', { flag: 'a' });
  }
}

function call(
  program: string,
  args: readonly string[],
  timeout: number,
  { signal }: Wait,
): Promise<Said> {
  return new Promise((resolve) => {
    const options = { timeout, signal, maxBuffer: OUTPUT_BYTES_MAX, encoding: 'utf8' } as const;
    execFile(program, [...args], options, (error, out, text) => {
      const code = error ? (typeof error.code === 'number' ? error.code : 1) : 0;
      resolve({ code, out, error: text || (error?.message ?? '') });
    });
  });
}

function firstLine(text: string): string {
  return (text.split('\n').find((line) => line.trim() !== '') ?? 'no reason given').slice(0, 500);
}

function lastLine(text: string): string {
  const lines = text
    .split('\n')
    .filter((line) => line.trim() !== '' && !/level=warning/.test(line));
  return (lines.at(-1) ?? 'no reason given').replace(/^Error: /, '').slice(0, 500);
}
