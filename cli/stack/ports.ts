/** Free ports, and who holds a taken one. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { stateConflict } from '../../core/errors.js';

/** Binds a port for a moment. Resolves to it, or rejects with what the system said. */
async function tryPort(host: string, port: number): Promise<number> {
  return await new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, host, () => {
      const address = server.address();
      const bound = typeof address === 'object' && address ? address.port : port;
      server.close(() => resolve(bound));
    });
  });
}

/** A port that is free now. */
export function freePort(host: string): Promise<number> {
  return tryPort(host, 0);
}

/**
 * Checks the port a person asked for; 0 becomes any free one. Throws STATE_CONFLICT that says who
 * holds it and what to do.
 */
export async function claimPort(host: string, port: number, flag = 'port'): Promise<number> {
  try {
    return await tryPort(host, port);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      const holder = holderOf(port);
      throw stateConflict(
        `port ${port} is taken${holder ? ` by ${holder}` : ''}\n` +
          `Stop that program, or choose another port with --${flag} N (0 = any free one).`,
      );
    }
    if (code === 'EACCES') {
      throw stateConflict(`port ${port} needs root\nChoose a port above 1023 with --${flag} N.`);
    }
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
      throw stateConflict(
        `this machine has no address ${host}\nChoose one of its own with --host, or 0.0.0.0 for all.`,
      );
    }
    throw error;
  }
}

const LISTENING = '0A';

/** `node (pid 123: command line)`, where the system lets us see it. */
export function holderOf(port: number): string | undefined {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const inodes = new Set<string>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const row of linesOf(table).slice(1)) {
      const cells = row.trim().split(/\s+/);
      if (cells[1]?.endsWith(`:${hex}`) && cells[3] === LISTENING && cells[9]) inodes.add(cells[9]);
    }
  }
  if (inodes.size === 0) return undefined;
  for (const pid of entriesOf('/proc').filter((name) => /^\d+$/.test(name))) {
    for (const fd of entriesOf(`/proc/${pid}/fd`)) {
      const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${fd}`))?.[1];
      if (inode !== undefined && inodes.has(inode)) return describe(pid);
    }
  }
  return undefined;
}

function describe(pid: string): string {
  const words = (linesOf(`/proc/${pid}/cmdline`)[0] ?? '')
    .split('\u0000')
    .filter((word) => word !== '');
  const name = linesOf(`/proc/${pid}/comm`)[0] ?? 'a process';
  return `${name} (pid ${pid}: ${words.join(' ').slice(0, 120)})`;
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
