/** Finds the strongest isolation that works on this machine by trying it. */
import {
  lstatSync,
  mkdirSync,
  readlinkSync,
  rmSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { messageOf, stateConflict } from '../core/errors.js';
import type { Log } from '../core/log.js';
import type { Wait } from '../storage/types.js';
import { SlotFiles } from './slot-files.js';
import type { SpawnerClient } from './spawner-client.js';
import type { Isolation } from './spawner-protocol.js';

const LADDER: readonly Isolation[] = ['bwrap', 'unshare', 'plain'];
const PROBE_MS = 10_000;

export interface ProbeOptions extends Wait {
  readonly spawner: SpawnerClient;
  readonly dataDir: string;
  readonly forced: Isolation | undefined;
  readonly path: string;
  readonly log: Log;
}

/** STATE_CONFLICT says why nothing works and what to install. */
export async function probeIsolation(options: ProbeOptions): Promise<Isolation> {
  const reasons: string[] = [];
  for (const isolation of options.forced ? [options.forced] : LADDER) {
    const reason = await tryOne(isolation, options);
    if (reason === undefined) {
      if (reasons.length > 0)
        options.log.warn({ isolation, reasons }, 'weaker isolation is in use');
      return isolation;
    }
    reasons.push(`${isolation}: ${reason}`);
  }
  throw stateConflict(
    `this machine can not run user code: ${reasons.join('; ')}. ` +
      'Install bubblewrap (Debian: apt-get install bubblewrap), or run the worker as root',
  );
}

/** Where a slot keeps its files. */
export function slotDir(dataDir: string, index: number): string {
  return join(dataDir, 'slots', String(index));
}

/** Makes the slot's directories, for plain isolation also the link /pfs on the host. */
export function makeSlotFiles(dataDir: string, index: number, isolation: Isolation): SlotFiles {
  const files = new SlotFiles(slotDir(dataDir, index), isolation === 'plain');
  if (isolation === 'plain') {
    rmdirSync(join(files.pfs, 'out'));
    symlinkSync(files.out, join(files.pfs, 'out'));
    claimPfs(files.pfs);
  }
  return files;
}

/** Removes /pfs from the host again, when it is ours. */
export function releasePfs(dataDir: string): void {
  const target = linkTarget('/pfs');
  if (target === join(slotDir(dataDir, 0), 'pfs')) unlinkSync('/pfs');
}

async function tryOne(isolation: Isolation, options: ProbeOptions): Promise<string | undefined> {
  const { spawner, dataDir, path, signal } = options;
  try {
    mkdirSync(slotDir(dataDir, 0), { recursive: true });
    const files = makeSlotFiles(dataDir, 0, isolation);
    spawner.openSlot({ slot: 0, isolation, dir: files.dir });
    const argv = ['/bin/sh', '-c', 'cd /pfs && : > /pfs/out/probe'];
    const command = { argv, env: { PATH: path }, cwd: '/', stdin: '', timeoutMs: PROBE_MS };
    const { end, lines } = await spawner.run(0, command, { signal });
    const made = lstatSync(join(files.out, 'probe'), { throwIfNoEntry: false });
    rmSync(join(files.out, 'probe'), { force: true });
    if (end.why === 'exit' && end.code === 0 && made) return undefined;
    const said = lines.map(([, text]) => text).join(' | ');
    return [end.why === 'broken' ? end.message : `probe ended: ${end.why}`, said].join(' ').trim();
  } catch (error) {
    return messageOf(error);
  }
}

function claimPfs(pfs: string): void {
  const target = linkTarget('/pfs');
  if (target === pfs) return;
  if (target !== undefined && lstatSync(target, { throwIfNoEntry: false }) !== undefined) {
    throw stateConflict(`/pfs is in use: it is a link to ${target}; remove it if nothing uses it`);
  }
  if (target !== undefined) unlinkSync('/pfs');
  symlinkSync(pfs, '/pfs');
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
