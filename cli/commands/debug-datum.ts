/** debug datum: the inputs, environment and command of a datum, in a shell on this machine. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, posix, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { entryPath } from '../../core/entry.js';
import { invalidInput } from '../../core/errors.js';
import { makeDir } from '../../core/make-dir.js';
import { FileType, WalkFileRequest } from '../../proto/generated/pfs.js';
import { DatumState } from '../../proto/generated/pps.js';
import { JobsClient, type DatumRecipe } from '../../proto/generated/tusk.js';
import type { Client } from '../client/client.js';
import type { Call } from '../grammar/command.js';
import { getWholeTree } from './get-tree.js';

/** The part of a WorkDatum (docs/formats/work.md) that is needed here. */
interface Work {
  readonly id: string;
  readonly inputs: readonly Input[];
}

interface Input {
  readonly name: string;
  readonly repo: string;
  readonly commit: string;
  readonly path: string;
  readonly emptyFiles?: boolean;
  readonly s3?: boolean;
}

/** What says how to run the datum, and serves S3 to it until it is ended. */
interface Helper {
  readonly plan: Plan;
  end(): Promise<void>;
}

interface Plan {
  readonly program: string;
  readonly args: readonly string[];
  readonly script: string;
  readonly notes: readonly string[];
}

/** A datum's id or its beginning; anything else behind the job is a command. */
const ID = /^[0-9a-f]{8,64}$/;

export async function debugDatum(call: Call): Promise<number> {
  const { session, args, flags } = call;
  const [job = '', ...rest] = args;
  const named = ID.test(rest[0] ?? '');
  const datum = named ? (rest[0] ?? '') : '';
  const command = named ? rest.slice(1) : rest;
  const client = await session.client();
  const { describeDatum } = client.service(JobsClient);
  const recipe = await client.unary(describeDatum, { job, datum });
  const work = JSON.parse(recipe.work) as Work;
  const kept = flags.text('dir');
  const dir = kept === '' ? mkdtempSync(join(tmpdir(), 'tusk-datum-')) : emptyDir(resolve(kept));
  try {
    await fetchInputs(client, work, dir);
    const interactive = command.length === 0 && session.stdin.isTTY;
    const helper = await startHelper({ dir, recipe, work, command, interactive });
    try {
      if (interactive) tell(call, recipe, work, helper.plan);
      else for (const note of helper.plan.notes.filter(isMissing)) session.note(note);
      return await run(helper.plan);
    } finally {
      await helper.end();
    }
  } finally {
    if (kept === '') rmSync(dir, { recursive: true, force: true });
    else session.note(`inputs and outputs: ${join(dir, 'pfs')}, ${join(dir, 'out')}`);
  }
}

function emptyDir(dir: string): string {
  makeDir(dir);
  if (readdirSync(dir).length > 0)
    throw invalidInput(`${dir} is not empty: give --dir another one`);
  return dir;
}

async function fetchInputs(client: Client, work: Work, dir: string): Promise<void> {
  mkdirSync(join(dir, 'pfs', 'out'), { recursive: true });
  mkdirSync(join(dir, 'out'));
  for (const input of work.inputs) {
    const { repo, commit: id, path } = input;
    const target = join(dir, input.s3 ? 's3' : 'pfs', input.name, path);
    mkdirSync(path === '/' ? target : dirname(target), { recursive: true });
    if (input.emptyFiles) await makeEmpty(client, input, join(dir, 'pfs', input.name));
    else await getWholeTree(client, { repo, id, path }, target);
  }
}

/** Files without their bytes, as `empty_files` asks for. */
async function makeEmpty(client: Client, { repo, commit, path }: Input, at: string): Promise<void> {
  const file = { commit: { repo: { name: repo }, id: commit }, path };
  const request = WalkFileRequest.fromPartial({ file });
  for await (const info of client.stream(client.pfs.walkFile, request)) {
    const target = join(at, posix.join('/', info.file?.path ?? ''));
    if (info.fileType === FileType.DIR) mkdirSync(target, { recursive: true });
    else writeFileSync(target, '');
  }
}

async function startHelper(what: {
  readonly dir: string;
  readonly recipe: DatumRecipe;
  readonly work: Work;
  readonly command: readonly string[];
  readonly interactive: boolean;
}): Promise<Helper> {
  const { recipe, ...rest } = what;
  const request = join(what.dir, 'request.json');
  writeFileSync(request, JSON.stringify({ ...rest, spec: JSON.parse(recipe.jobSpec) as unknown }));
  const child = spawn(process.execPath, [entryPath('debug-datum'), request], { stdio: 'pipe' });
  const ended = once(child, 'close') as Promise<[number | null]>;
  const errors = text(child.stderr);
  child.stdin.on('error', () => undefined);
  try {
    const line = await firstLine(child);
    if (line === '') throw invalidInput((await errors).trim() || 'debug-datum ended');
    return { plan: JSON.parse(line) as Plan, end: () => endHelper(child, ended, errors) };
  } catch (error) {
    child.stdin.end();
    throw error;
  } finally {
    rmSync(request, { force: true });
  }
}

async function firstLine({ stdout }: ChildProcess): Promise<string> {
  if (!stdout) return '';
  for await (const line of createInterface({ input: stdout })) return line;
  return '';
}

async function endHelper(
  { stdin }: ChildProcess,
  ended: Promise<[number | null]>,
  errors: Promise<string>,
): Promise<void> {
  stdin?.end();
  const [code] = await ended;
  if (code !== 0) throw invalidInput((await errors).trim() || `debug-datum ended with ${code}`);
}

/** Differences that can make the command fail. */
const isMissing = (note: string): boolean => note.startsWith('secret');

function tell({ session, args }: Call, recipe: DatumRecipe, work: Work, plan: Plan): void {
  const state = (DatumState[recipe.state] ?? '').toLowerCase();
  session.note(`Datum ${work.id} of job ${args[0] ?? ''}: ${state}`);
  if (recipe.reason !== '') session.note(`  ${recipe.reason}`);
  for (const { name, path, repo, commit, s3 } of work.inputs) {
    const at = s3 ? `bucket ${name} at $S3_ENDPOINT` : posix.join('/pfs', name, path);
    session.note(`  ${at}  from ${repo}@${commit}:${path}`);
  }
  for (const note of plan.notes) session.note(`  note: ${note}`);
  session.note(
    `${plan.script} is the pipeline's command; what it writes to /pfs/out stays on this machine.`,
  );
}

/** With the person's own terminal; Ctrl-C reaches it by itself. */
function run({ program, args }: Plan): Promise<number> {
  return new Promise((settle, reject) => {
    const child = spawn(program, args, { stdio: 'inherit' });
    child.once('error', reject);
    child.once('exit', (code, signal) => settle(signal ? 130 : (code ?? 1)));
  });
}
