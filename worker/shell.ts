/**
 * Text for the shell that runs inside a sandbox. The agent is a `sh` that reads one small script
 * per run from its standard input, so a run costs one fork instead of a new sandbox (measured: 0.4
 * against 2.5 ms).
 */
import type { Limits, RunCommand } from './spawner-protocol.js';

/** Names a shell would not set, would not export, or would change itself. */
const SHELL_NAMES =
  /^(?:_|IFS|OPTIND|OPTARG|PPID|UID|EUID|GROUPS|LINENO|PWD|OLDPWD|SHLVL|SHELLOPTS|BASH.*|RANDOM|SECONDS|PS[124]|ENV|MAIL.*|FUNCNAME|DIRSTACK)$/;
const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** The text as one word of a POSIX shell. NUL can not be in a command and is left out. */
export function quote(text: string): string {
  return `'${text.replaceAll('\0', '').replaceAll("'", `'\\''`)}'`;
}

/**
 * What the agent reads first. `c` starts a run: private directories are emptied (not at the end of
 * the one before, so that links from /pfs/out into them can still be followed). `e TOKEN` ends it:
 * nothing the run started stays alive, then the exit code goes to the control pipe (fd 3), which
 * user code never sees. Signals meant for a whole process group do not end the agent.
 */
export function agentPrelude(options: { readonly privateDirs: readonly string[] }): string {
  const globs = options.privateDirs.flatMap((dir) => [`${dir}/*`, `${dir}/.[!.]*`, `${dir}/..?*`]);
  // `kill -9 -1` must never run outside a namespace of its own: there, process ids start at 1.
  return `[ $$ -le 50 ] || exit 98
umask 022
trap : HUP INT QUIT TERM USR1 USR2 ALRM
c() {
  for f in ${globs.join(' ')}; do
    if [ -e "$f" ] || [ -L "$f" ]; then rm -rf -- "$f" 2>/dev/null; fi
  done
}
e() {
  r=$?
  k=0
  while kill -9 -1; do
    k=$((k + 1))
    if [ $k -gt 3000 ]; then exit 99; fi
    if [ $k -gt 50 ]; then sleep 0.01; fi
  done 2>/dev/null
  echo "$1 $r" >&3
}
echo ready >&3
`;
}

/** What a run's script needs to know beside the command. */
export interface ScriptOptions {
  /** Unguessable for user code. */
  readonly token: string;
  readonly limits?: Limits;
  /** The agent was told the variables that runs of this command share. */
  readonly known?: boolean;
  /** Nothing is in the private directories. */
  readonly empty?: boolean;
  /** The sandbox has the descriptors of processes that stay alive (5 and 6). */
  readonly warm?: boolean;
}

/** The script of one run. */
export function runScript(command: RunCommand, options: ScriptOptions): string {
  const { token, limits, known, empty, warm } = options;
  const shared = sharedVariables(command.env);
  const own = variables(command.own ?? {});
  const odd = [...shared.odd, ...own.odd];
  let words = command.argv.map(quote);
  if (odd.length > 0) words.unshift('/usr/bin/env', ...odd, ...guard(command.argv));
  if (command.user) words = asUser(command.user, words);
  const stays = command.request !== undefined;
  const fed = !stays && command.stdin !== '';
  const input = stays ? '<&5 3>&6' : `${fed ? `<<'${token}'` : '</dev/null'} 3>&-`;
  const closing = warm ? ' 5<&- 6>&-' : '';
  const text = fed ? `${withNewline(command.stdin)}${token}\n` : '';
  const cd = `cd ${quote(command.cwd)} && unset OLDPWD`;
  const run = `${ulimits(limits)}${cd} && x && ${own.exports} && exec ${words.join(' ')}`;
  // A function, so that the shell reads the shared variables once and not for every datum.
  const tell = known ? '' : `x() {\n${shared.exports}\n}\n`;
  return `${tell}${empty ? '' : 'c\n'}(${run}) ${input}${closing}\n${text}e ${token}\n`;
}

interface Variables {
  /** A shell command. */
  readonly exports: string;
  /** Words for `env`: what a shell can not set. */
  readonly odd: readonly string[];
}

function variables(env: RunCommand['env']): Variables {
  const plain: string[] = [];
  const odd: string[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (name === '' || name.includes('=')) continue;
    if (IDENTIFIER.test(name) && !SHELL_NAMES.test(name)) plain.push(`${name}=${quote(value)}`);
    else odd.push(quote(`${name}=${value}`));
  }
  return { exports: plain.length > 0 ? `export ${plain.join(' ')}` : ':', odd };
}

/** By the environment, which runs of one command share. */
const knownVariables = new WeakMap<RunCommand['env'], Variables>();

function sharedVariables(env: RunCommand['env']): Variables {
  const known = knownVariables.get(env);
  if (known) return known;
  const made = variables(env);
  knownVariables.set(env, made);
  return made;
}

/**
 * Stops a single file or process at once; the watcher and the kernel's groups look at all of them
 * together. Files count in blocks of 512, memory in KiB.
 */
function ulimits(limits: Limits | undefined): string {
  const { diskBytes } = limits ?? {};
  return diskBytes === undefined ? '' : `ulimit -f ${Math.max(1, Math.ceil(diskBytes / 512))} && `;
}

function asUser(user: NonNullable<RunCommand['user']>, words: string[]): string[] {
  if (user.su) {
    return ['su', '-m', '-s', '/bin/sh', quote(user.name), '-c', quote(`exec ${words.join(' ')}`)];
  }
  const change = ['setpriv', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--init-groups', '--'];
  return [...change, ...words];
}

/** `env` would take a program name with `=` for a variable. */
function guard(argv: readonly string[]): readonly string[] {
  return argv[0]?.includes('=') ? ['/bin/sh', '-c', quote('exec "$0" "$@"')] : [];
}

function withNewline(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}
