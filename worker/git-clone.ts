/**
 * Git inputs: /pfs/<name> is a clone at the commit that the datum's commit.json names. Each repo is
 * fetched once into a mirror beside the cache, and clones come from there.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { corruptData, unavailable } from '../core/errors.js';
import { sha256Hex } from '../core/sha256.js';
import type { WorkGit } from '../queue/messages.js';
import type { Wait } from '../storage/types.js';

const OUTPUT_BYTES_MAX = 1024 * 1024;
const SETTINGS = [
  ...['-c', 'credential.helper=', '-c', 'core.askPass=true', '-c', 'safe.directory=*'],
  ...['-c', 'advice.detachedHead=false', '-c', 'gc.auto=0', '-c', 'protocol.allow=never'],
  ...['-c', 'protocol.file.allow=always', '-c', 'protocol.http.allow=always'],
  ...['-c', 'protocol.https.allow=always'],
];
const ENVIRONMENT = [
  ...['GIT_TERMINAL_PROMPT=0', 'GIT_CONFIG_NOSYSTEM=1', 'GIT_CONFIG_GLOBAL=/dev/null', 'LC_ALL=C'],
];

/** User code runs as another user than the one who cloned; git would not look at it otherwise. */
export const GIT_ENVIRONMENT: Readonly<Record<string, string>> = {
  GIT_CONFIG_COUNT: '1',
  GIT_CONFIG_KEY_0: 'safe.directory',
  GIT_CONFIG_VALUE_0: '*',
};

export class GitClones {
  /** Mirror → the last that is done to it: one change at a time. */
  readonly #busy = new Map<string, Promise<unknown>>();

  constructor(
    /** Where mirrors lie. */
    readonly dir: string,
  ) {}

  /**
   * Puts a clone at `target`, whose commit.json (a push event) is there and is replaced. Throws
   * UNAVAILABLE with what git said.
   */
  async place(git: WorkGit, target: string, wait: Wait): Promise<void> {
    const after = afterOf(join(target, 'commit.json'));
    const mirror = join(this.dir, sha256Hex(git.url).slice(0, 24));
    const before = this.#busy.get(mirror) ?? Promise.resolve();
    const work = before.catch(() => undefined).then(() => this.#fetch(mirror, git, after, wait));
    this.#busy.set(mirror, work);
    await work;
    if (this.#busy.get(mirror) === work) this.#busy.delete(mirror);
    rmSync(target, { recursive: true, force: true });
    // Not by hard links: nothing that user code does may reach the mirror.
    await run(['clone', '-q', '--no-hardlinks', '--no-checkout', '--', mirror, target], wait);
    const inClone = (...args: string[]): Promise<string> => run(['-C', target, ...args], wait);
    await inClone('remote', 'set-url', 'origin', git.url);
    await inClone('checkout', '-q', '-f', '-B', git.branch, after);
  }

  async #fetch(mirror: string, git: WorkGit, after: string, wait: Wait): Promise<void> {
    const inMirror = (...args: string[]): Promise<string> => run(['-C', mirror, ...args], wait);
    if (!existsSync(join(mirror, 'HEAD'))) {
      mkdirSync(mirror, { recursive: true });
      await run(['init', '-q', '--bare', mirror], wait);
    }
    const isThere = (): Promise<boolean> =>
      inMirror('cat-file', '-e', `${after}^{commit}`).then(
        () => true,
        () => false,
      );
    if (await isThere()) return;
    const ref = `refs/heads/${git.branch}`;
    await inMirror('fetch', '-q', '--', git.url, `+${ref}:${ref}`);
    if (await isThere()) return;
    // The branch was moved back or rewritten since; some servers give any commit.
    await inMirror('fetch', '-q', '--', git.url, `+${after}:refs/tusk/${after}`);
  }
}

function afterOf(file: string): string {
  const payload = JSON.parse(readFileSync(file, 'utf8')) as { after?: unknown } | null;
  const after = payload?.after;
  if (typeof after === 'string' && /^[0-9a-f]{40,64}$/.test(after)) return after;
  throw corruptData('commit.json of a git input names no commit in "after"');
}

function run(args: readonly string[], { signal }: Wait): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { signal, maxBuffer: OUTPUT_BYTES_MAX };
    const argv = [...ENVIRONMENT, 'git', ...SETTINGS, ...args];
    execFile('setsid', ['-w', 'env', ...argv], options, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      if (signal.aborted) return reject(signal.reason as Error);
      const said = stderr
        .trim()
        .split('\n')
        .find((line) => /^(fatal|error):/.test(line));
      const missing = error.code === 127 || /No such file or directory$/.test(stderr.trim());
      const why =
        said ?? (missing ? "git is not installed on the worker's machine" : error.message);
      reject(unavailable(`cannot clone: ${why.slice(0, 300)}`));
    });
  });
}
