/**
 * `node dist/debug-datum.mjs REQUEST.json`: says, as JSON, how a person runs a datum on this machine
 * as a worker would. The inputs lie below `dir/pfs` already, those for S3 below `dir/s3`; git inputs
 * are cloned here. For a datum that uses S3 it goes on and serves it until its standard input ends.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { messageOf, stateConflict } from '../core/errors.js';
import { NEVER } from '../core/signals.js';
import type { JobSpec, WorkDatum } from '../queue/messages.js';
import { inheritedOf } from './config.js';
import { openDebugS3 } from './debug-s3.js';
import { datumEnvironment, stdinText } from './environment.js';
import { GitClones } from './git-clone.js';
import { DATUM_SCRIPT, personalLines, type SandboxLine } from './sandbox-args.js';
import { quote } from './shell.js';

export interface DebugRequest {
  /** Absolute; holds `pfs/` with the inputs and `out/`. */
  readonly dir: string;
  readonly spec: JobSpec;
  readonly work: WorkDatum;
  /** What to run; empty = a shell. */
  readonly command: readonly string[];
  /** Somebody sits at a terminal. */
  readonly interactive: boolean;
}

export interface DebugPlan extends SandboxLine {
  /** Where the pipeline's own command lies inside. */
  readonly script: string;
  /** What differs from a worker. */
  readonly notes: readonly string[];
}

async function main(): Promise<void> {
  const request = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as DebugRequest;
  const wait = { signal: NEVER };
  await using s3 = await openDebugS3(request, wait);
  console.log(JSON.stringify(await planOf(request, s3?.env ?? {})));
  if (!s3) return;
  // Keys that end the datum are not meant for its server.
  process.on('SIGINT', () => undefined);
  await finished(process.stdin.resume(), { writable: false });
  await s3.finish();
}

async function planOf(
  request: DebugRequest,
  s3: Readonly<Record<string, string>>,
): Promise<DebugPlan> {
  const { dir, spec, work, interactive } = request;
  writeFileSync(join(dir, 'run-datum'), script(spec), { mode: 0o755 });
  const clones = new GitClones(join(dir, 'git'));
  for (const [name, git] of Object.entries(spec.git ?? {})) {
    await clones.place(git, join(dir, 'pfs', name), { signal: NEVER });
  }
  const identity = { worker: 'debug', namespace: 'default', inherited: inheritedOf(process.env) };
  const env = { ...datumEnvironment(spec, work, identity), ...s3 };
  const { TERM = 'dumb' } = process.env;
  const tty = interactive ? [`TERM=${TERM}`, `PS1=datum ${work.id.slice(0, 8)}:\\w\\$ `] : [];
  const pairs = [...Object.entries(env).map(([name, value]) => `${name}=${value}`), ...tty];
  const command = ['/usr/bin/env', '-i', ...pairs, ...wanted(request)];
  const cwd = spec.transform.workingDir || '/';
  const root = process.getuid?.() === 0;
  const lines = personalLines({ dir, root, cwd, command });
  const tests = personalLines({ dir, root, cwd: '/', command: ['/bin/true'] });
  const at = tests.findIndex(({ program, args }) => spawnSync(program, args).status === 0);
  const line = lines[at];
  if (line) return { ...line, script: DATUM_SCRIPT, notes: notes(spec) };
  throw stateConflict(
    'this machine gives a program no /pfs of its own: ' +
      'install bubblewrap (Debian: apt-get install bubblewrap), or run this as root',
  );
}

function wanted({ command, interactive }: DebugRequest): readonly string[] {
  if (command.length > 0) return command;
  if (!existsSync('/bin/bash')) return ['/bin/sh'];
  return interactive ? ['/bin/bash', '--norc', '-i'] : ['/bin/bash'];
}

/** The pipeline's command with its standard input. */
function script({ transform: { cmd, stdin } }: JobSpec): string {
  if (cmd.length === 0) return '#!/bin/sh\necho "the image of the pipeline has the command" >&2\n';
  const words = cmd.map(quote).join(' ');
  const text = stdinText(stdin);
  if (text === '') return `#!/bin/sh\nexec ${words} </dev/null\n`;
  let end = 'END';
  while (stdin.includes(end)) end += 'END';
  return `#!/bin/sh\nexec ${words} <<'${end}'\n${text}${end}\n`;
}

function notes(spec: JobSpec): string[] {
  const { transform } = spec;
  const { image, user, secrets = [], warm } = transform;
  const list: string[] = [];
  if (image !== '') list.push(`image ${image} is not used: everything runs on this machine itself`);
  if (user !== '') list.push(`it runs as you, not as user ${user}`);
  for (const { name, envVar, mountPath } of secrets) {
    const missing = [envVar && `$${envVar}`, mountPath].filter(Boolean).join(' and ');
    list.push(`secret ${name} is not here: ${missing} missing`);
  }
  if (spec.s3Out) list.push('objects put into the bucket out are in out/ when it has ended');
  if (warm) list.push('its process gets one datum after the other; here it gets none by itself');
  return list;
}

main().catch((error: unknown) => {
  console.error(messageOf(error));
  process.exitCode = 1;
});
