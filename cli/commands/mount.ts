/** mount and unmount: repos as a directory of the local machine. */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { codeOf, invalidInput, messageOf, notFound, stateConflict } from '../../core/errors.js';
import { addAbortListener } from '../../core/signals.js';
import {
  InspectBranchRequest,
  InspectCommitRequest,
  ListRepoRequest,
} from '../../proto/generated/pfs.js';
import type { Client } from '../client/client.js';
import type { Call } from '../grammar/command.js';
import { parseCommitRef } from '../grammar/refs.js';
import { commitChanges } from '../mount/commit.js';
import { asUser, FuseDevice, run } from '../mount/device.js';
import { FileSystem } from '../mount/filesystem.js';
import { Volume, type VolumeSource } from '../mount/volume.js';
import { SPEC_REPO } from '../render/pfs.js';
import { confirm } from './prompt.js';

interface Asked {
  readonly repo: string;
  /** Branch or commit. */
  readonly id: string;
  readonly write: boolean;
}

/** Shows repos below a directory until it is unmounted or the program is interrupted. */
export async function mount(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const dir = resolve(args[0] ?? '');
  const given = flags.given('fuse-fd') ? flags.number('fuse-fd') : undefined;
  // Once mounted, asking for the directory would wait for this very program's answer.
  if (given === undefined) checkDir(dir);
  const client = await session.client();
  const sources = await sourcesOf(client, asked(call), flags.bool('write'));
  const readonly = !sources.some(({ writable }) => writable);
  if (given === undefined && process.getuid?.() !== 0) {
    process.exitCode = await asUser(dir, readonly);
    return;
  }
  const scratch = mkdtempSync(join(tmpdir(), 'tusk-mount-'));
  const log = flags.bool('debug') || session.verbose ? session.note : () => undefined;
  const device =
    given === undefined
      ? await FuseDevice.mount(dir, { readonly, log })
      : FuseDevice.adopt(given, dir, log);
  const volumes = new Map(
    sources.map((source) => [source.repo, new Volume(client, source, scratch)]),
  );
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const files = new FileSystem(volumes, owner, session.clock.wallMs());
  session.note(
    `${dir} shows ${describe(sources)}. Unmount it with Ctrl-C or '${session.program} unmount ${dir}'.`,
  );
  const stop = addAbortListener(session.signal, () => void detach(call, dir));
  try {
    await device.serve((request) => files.answer(request));
  } finally {
    stop();
  }
  await commitAll(call, [...volumes.values()], scratch);
}

function checkDir(dir: string): void {
  let found;
  try {
    found = statSync(dir);
  } catch (error) {
    throw notFound(`could not mount on ${dir}: ${messageOf(error)}; make the directory first`);
  }
  if (!found.isDirectory()) throw invalidInput(`could not mount on ${dir}: it is not a directory`);
}

/** `repo[@branch][+w]`, repeated; none means every repo. */
function asked({ flags }: Call): Asked[] {
  return [...flags.list('repos'), ...flags.list('commits')].map((text) => {
    const write = text.endsWith('+w');
    const ref = parseCommitRef(write ? text.slice(0, -2) : text);
    return { repo: ref.repo, id: ref.id || 'master', write };
  });
}

async function sourcesOf(
  client: Client,
  list: readonly Asked[],
  writeAll: boolean,
): Promise<VolumeSource[]> {
  const seen = new Set<string>();
  for (const { repo } of list) {
    if (seen.has(repo)) throw invalidInput(`repo ${repo} is named twice; it can be mounted once`);
    seen.add(repo);
  }
  const wanted = list.length > 0 ? list : await everyRepo(client);
  const sources: VolumeSource[] = [];
  for (const one of wanted) sources.push(await sourceOf(client, one, writeAll));
  return sources;
}

async function everyRepo(client: Client): Promise<Asked[]> {
  const { repoInfo } = await client.unary(client.pfs.listRepo, ListRepoRequest.fromPartial({}));
  return repoInfo
    .map((info) => info.repo?.name ?? '')
    .filter((name) => name !== SPEC_REPO)
    .map((repo) => ({ repo, id: 'master', write: false }));
}

/** Pins the branch to the commit it has now, so that what is shown stays one version. */
async function sourceOf(client: Client, one: Asked, writeAll: boolean): Promise<VolumeSource> {
  const { repo, id } = one;
  const branch = await client
    .unary(
      client.pfs.inspectBranch,
      InspectBranchRequest.fromPartial({ branch: { repo: { name: repo }, name: id } }),
    )
    .catch((error: unknown) => {
      if (codeOf(error) === 'NOT_FOUND') return undefined;
      throw error;
    });
  const output = (branch?.directProvenance.length ?? 0) > 0;
  const isCommit = /^[0-9a-f]{32}$/.test(id);
  if (one.write && (output || isCommit)) {
    const why = output ? 'it is the output of a pipeline' : 'a commit can not be changed';
    throw stateConflict(`${repo}@${id} can not be mounted for writing: ${why}`);
  }
  const writable = !output && !isCommit && (one.write || writeAll);
  const head = branch?.head?.id ?? (isCommit ? id : '');
  if (head === '') {
    // Throws when even the repo is not there.
    await client.unary(client.pfs.inspectRepo, { repo: { name: repo } });
    return { repo, branch: id, commit: '', writable, timeMs: Date.now() };
  }
  const info = await client.unary(
    client.pfs.inspectCommit,
    InspectCommitRequest.fromPartial({ commit: { repo: { name: repo }, id: head } }),
  );
  const time = info.finished ?? info.started;
  const timeMs = time ? time.seconds * 1000 : Date.now();
  return { repo, branch: id, commit: head, writable, timeMs };
}

function describe(sources: readonly VolumeSource[]): string {
  const names = sources.map(
    ({ repo, branch, writable }) => `${repo}@${branch}${writable ? ' (writable)' : ''}`,
  );
  if (names.length === 0) return 'no repos: there are none';
  return names.length > 5 ? `${names.length} repos` : names.join(', ');
}

/** Unmounts after an interrupt; a busy directory is detached and goes when nobody uses it any more. */
async function detach({ session }: Call, dir: string): Promise<void> {
  const { code } = await unmountDir(dir, false);
  if (code === 0) return;
  session.note(`${dir} is still in use; waiting until no program has files open in it`);
  const lazy = await unmountDir(dir, true);
  if (lazy.code !== 0) session.note(`could not unmount ${dir}: ${lazy.text}`);
}

function unmountDir(dir: string, lazy: boolean) {
  const more = lazy ? ['-l'] : [];
  if (process.getuid?.() === 0) return run('umount', [...more, dir]);
  return run('fusermount3', ['-u', ...(lazy ? ['-z'] : []), dir]);
}

/** Sends what was changed; when a repo refuses, its files stay on disk and the person is told where. */
async function commitAll(
  { session }: Call,
  volumes: readonly Volume[],
  scratch: string,
): Promise<void> {
  // The interrupt that ended the mount must not end this too.
  const client = await fresh(session);
  const refused: string[] = [];
  for (const volume of volumes) {
    const { repo, branch } = volume.source;
    try {
      const { written, deleted } = await commitChanges(client, volume);
      if (written + deleted > 0) {
        session.note(`committed to ${repo}@${branch}: ${written} written, ${deleted} deleted`);
      }
    } catch (error) {
      refused.push(`could not commit to ${repo}@${branch}: ${messageOf(error)}`);
      for (const [path, change] of volume.changes) {
        if (change.kind === 'file') refused.push(`  ${path} is kept in ${change.local}`);
      }
    }
  }
  if (refused.length > 0) throw stateConflict(refused.join('\n'));
  rmSync(scratch, { recursive: true, force: true });
}

async function fresh(session: Call['session']): Promise<Client> {
  const [{ Client: Make }, { chooseTarget }, { NEVER }] = await Promise.all([
    import('../client/client.js'),
    import('../client/address.js'),
    import('../../core/signals.js'),
  ]);
  return new Make(chooseTarget(session.env), session.env, NEVER);
}

interface Mounted {
  readonly dir: string;
  /** The program that serves it, where the mount says so. */
  readonly pid: number | undefined;
}

function mounted(): Mounted[] {
  const table = readFileSync('/proc/self/mounts', 'utf8').trim().split('\n');
  return table
    .map((line) => line.split(' '))
    .filter(([source = '', , type]) => type === 'fuse.tusk' && source.startsWith('tusk:'))
    .map(([source = '', dir = '']) => ({
      // Spaces and the like are written as \040.
      dir: dir.replaceAll(/\\(\d{3})/g, (_all, code: string) =>
        String.fromCharCode(parseInt(code, 8)),
      ),
      pid: Number(source.slice('tusk:'.length)) || undefined,
    }));
}

/** Unmounts and waits until what was written there is committed. */
export async function unmount(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const [dir] = args;
  const all = flags.bool('all');
  if ((dir !== undefined) === all) throw invalidInput('give either a directory or --all');
  const found = mounted().filter((one) => all || one.dir === resolve(dir ?? ''));
  if (found.length === 0) {
    if (all) return session.note('nothing is mounted');
    throw notFound(`${resolve(dir ?? '')} is not mounted`);
  }
  if (all) {
    session.note(`Mounted: ${found.map((one) => one.dir).join(', ')}`);
    if (!(await confirm(session, 'Unmount all of them?'))) return;
  }
  for (const one of found) {
    const { code, text } = await unmountDir(one.dir, false);
    if (code !== 0) throw stateConflict(`could not unmount ${one.dir}: ${text}`);
    while (one.pid !== undefined && isAlive(one.pid)) {
      await session.clock.sleep(50, { signal: session.signal });
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
