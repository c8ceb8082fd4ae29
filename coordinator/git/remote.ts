/**
 * Questions to git servers, asked through the git program. It never prompts, reads no settings of
 * this machine's users, and speaks http(s) and files alone.
 */
import { spawn } from 'node:child_process';
import { realpath } from 'node:fs/promises';
import { relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AppError, invalidInput, messageOf, unavailable } from '../../core/errors.js';
import { addAbortListener } from '../../core/signals.js';
import type { Wait } from '../../storage/types.js';

export interface RemoteDeps {
  /** The directory of this machine that file:// URLs may name; none: they are refused. */
  readonly localSources: string | undefined;
}

const TIMEOUT_MS = 30_000;
const OUTPUT_BYTES_MAX = 1024 * 1024;
/** How servers (and git itself) say that they want to know who is asking. */
const PRIVATE =
  /could not read Username|Authentication failed|terminal prompts disabled|Repository not found|returned error: 40[13]/i;

/** The server wants to know who is asking; nothing that is tried again helps. */
export class PrivateRepo extends AppError {
  constructor(url: string) {
    super('PERMISSION_DENIED', `unable to clone private github repo (${url})`);
  }
}

/**
 * The commit that a branch is at; undefined when there is no such branch. Throws PrivateRepo, or
 * UNAVAILABLE with what git said.
 */
export async function branchHead(
  deps: RemoteDeps,
  url: string,
  branch: string,
  wait: Wait,
): Promise<string | undefined> {
  await checkLocal(deps, url);
  const ref = `refs/heads/${branch}`;
  const text = await git(['ls-remote', '--', url, ref], url, wait);
  for (const line of text.split('\n')) {
    const [id = '', name] = line.split('\t');
    if (name === ref && /^[0-9a-f]{40,64}$/.test(id)) return id;
  }
  return undefined;
}

async function checkLocal({ localSources }: RemoteDeps, url: string): Promise<void> {
  if (!url.startsWith('file://')) return;
  const refuse = (why: string): never => {
    throw new AppError('PERMISSION_DENIED', `cannot read ${url}: ${why}`);
  };
  if (localSources === undefined) {
    refuse(
      'this server gives no files of its own machine; the setting localSources (tusk up ' +
        '--local-sources DIR) names a directory that it may',
    );
  }
  const base = await realpath(localSources ?? '');
  const path = await realpath(fileURLToPath(url)).catch((error: unknown) =>
    refuse(messageOf(error)),
  );
  const way = relative(base, path);
  if (way === '..' || way.startsWith(`..${sep}`)) refuse('it is outside localSources');
}

const SETTINGS = [
  ...['-c', 'credential.helper=', '-c', 'core.askPass=true', '-c', 'safe.directory=*'],
  ...['-c', 'protocol.allow=never', '-c', 'protocol.file.allow=always'],
  ...['-c', 'protocol.http.allow=always', '-c', 'protocol.https.allow=always'],
];
const ENVIRONMENT = [
  ...['GIT_TERMINAL_PROMPT=0', 'GIT_CONFIG_NOSYSTEM=1', 'GIT_CONFIG_GLOBAL=/dev/null', 'LC_ALL=C'],
];

function git(args: readonly string[], url: string, wait: Wait): Promise<string> {
  wait.signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    // Without a terminal of its own it can not ask anybody anything.
    const child = spawn('env', [...ENVIRONMENT, 'git', ...SETTINGS, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const kill = (): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    };
    const signal = AbortSignal.any([wait.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    const stop = addAbortListener(signal, kill);
    const read = (stream: NodeJS.ReadableStream): (() => string) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      stream.on('data', (part: Buffer) => {
        bytes += part.length;
        if (bytes <= OUTPUT_BYTES_MAX) parts.push(part);
        else kill();
      });
      return () => Buffer.concat(parts).toString();
    };
    const out = read(child.stdout);
    const err = read(child.stderr);
    child.once('error', (error) => {
      stop();
      reject(unavailable(`cannot ask git servers: ${error.message}`));
    });
    child.once('close', (code) => {
      stop();
      if (wait.signal.aborted) reject(wait.signal.reason as Error);
      else if (code === 0) resolve(out());
      else reject(failed(url, code, signal.aborted ? 'no answer in 30 s' : err()));
    });
  });
}

function failed(url: string, code: number | null, said: string): Error {
  if (code === 127) {
    return unavailable(
      "git is not installed on the coordinator's machine: install it (`apt install git`)",
    );
  }
  if (PRIVATE.test(said)) return new PrivateRepo(url);
  const words = said
    .trim()
    .split('\n')
    .filter((line) => line !== '');
  const why = (
    words.find((line) => /^(fatal|error):/.test(line)) ??
    words[0] ??
    `exit status ${code}`
  )
    .replace(/^(fatal|error): /, '')
    .slice(0, 300);
  return unavailable(`cannot read the git repo ${url}: ${why}`);
}

/** What is wrong with a clone URL; undefined when it may work. Texts of the v1 API. */
export function refusedCloneUrl(url: string): string | undefined {
  const example = '(example clone URL https://github.com/org/foo.git)';
  if (url === '') return `clone URL is missing ${example}`;
  if (!url.endsWith('.git')) return `clone URL is missing .git suffix ${example}`;
  // Servers of one's own speak http; file:// is for those beside the coordinator.
  if (!/^(?:https?:\/\/[^/]|file:\/\/\/)/.test(url) || !URL.canParse(url)) {
    return `clone URL must use https protocol ${example}`;
  }
  return undefined;
}

/** Throws INVALID_INPUT for a branch name that git would take for something else. */
export function checkGitBranch(branch: string): void {
  if (/^[-/]|[\s~^:?*[\\]|\.\.|\/\/|\/$|\.lock$|@\{|[\0-\x1f\x7f]/.test(branch)) {
    throw invalidInput(`"${branch}" is not the name of a git branch`);
  }
}
