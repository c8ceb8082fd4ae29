/**
 * The command lines that make a slot's sandbox: own mount, pid and ipc namespaces, the host's
 * directories read-only, a private /tmp, inputs at /pfs (read-only) and /pfs/out (writable).
 */
import { lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { quote } from './shell.js';
import type { Mount, SlotPlace } from './spawner-protocol.js';

/** Directories that belong to one run and are emptied after it. */
export const PRIVATE_DIRS = ['/tmp', '/var/tmp', '/dev/shm'] as const;

/** What root keeps inside: enough to own files and to become another user, not to mount. */
const CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_RAW',
  'CAP_SYS_CHROOT',
];

export interface SandboxLine {
  readonly program: string;
  readonly args: readonly string[];
}

export interface SandboxOptions {
  /** The slot's directory. */
  readonly dir: string;
  readonly root: boolean;
  /** File descriptor on which bwrap tells the pid of the namespace's first process. */
  readonly infoFd: number;
  /** Unpacked image in place of the host's directories. */
  readonly rootfs?: string;
  readonly devices?: readonly string[];
  /** /pfs/out is a pipe, or not there: nothing is mounted on it. */
  readonly bare?: boolean;
  readonly mounts?: SlotPlace['mounts'];
}

/** Where the command of a datum lies in the sandbox of a person who looks into it. */
export const DATUM_SCRIPT = '/tmp/run-datum';

export interface PersonalOptions extends Pick<SandboxOptions, 'dir' | 'root'> {
  readonly cwd: string;
  readonly command: readonly string[];
}

/**
 * A sandbox as workers make it, with the terminal of whoever calls. `dir` holds `pfs/`, `out/` and
 * `run-datum`.
 */
export function personalLines({ dir, root, cwd, command }: PersonalOptions): SandboxLine[] {
  const worker = bwrapLine({ dir, root, infoFd: 0, mounts: [[`${dir}/run-datum`, DATUM_SCRIPT]] });
  const args = worker.args.slice(0, worker.args.lastIndexOf('--'));
  for (const [name, words] of [
    ['--new-session', 1],
    ['--info-fd', 2],
    ['--clearenv', 1],
    ['--chdir', 2],
  ] as const) {
    args.splice(args.indexOf(name), words);
  }
  const script = [
    `cd ${quote(dir)}`,
    'mkdir -p /pfs 2>/dev/null || [ -d /pfs ]',
    'mount --bind ./pfs /pfs',
    'mount -o remount,bind,ro /pfs',
    'mount --bind ./out /pfs/out',
    'mount -t tmpfs -o mode=1777 tusk /tmp',
    `cp ./run-datum ${DATUM_SCRIPT}`,
    `cd ${quote(cwd)}`,
  ].join(' && ');
  const user = root ? [] : ['--user', '--map-root-user'];
  const shared = ['--mount', '--pid', '--ipc', '--fork', '--kill-child', '--mount-proc'];
  return [
    { program: 'bwrap', args: [...args, '--chdir', cwd, '--', ...command] },
    {
      program: 'unshare',
      args: [...user, ...shared, '--', '/bin/sh', '-c', `${script} && exec "$@"`, 'sh', ...command],
    },
  ];
}

/** bwrap cannot create /pfs below a read-only root, so the root is put together from its parts. */
export function bwrapLine(options: SandboxOptions): SandboxLine {
  const { rootfs, root } = options;
  const args =
    rootfs === undefined ? ['--tmpfs', '/', ...hostRoot(options.mounts ?? [])] : imageRoot(options);
  args.push('--proc', '/proc', '--dev', '/dev');
  for (const device of options.devices ?? []) args.push('--dev-bind-try', device, device);
  args.push('--perms', '1777', '--tmpfs', '/tmp');
  if (isDirectory(`${rootfs ?? ''}/var/tmp`)) {
    args.push('--perms', '1777', '--tmpfs', '/var/tmp');
  }
  args.push('--ro-bind', `${options.dir}/pfs`, '/pfs');
  // A pipe can be written to whatever the mount below it allows.
  if (!options.bare) args.push('--bind', `${options.dir}/out`, '/pfs/out');
  for (const [from, to] of options.mounts ?? []) args.push('--ro-bind', from, to);
  args.push('--unshare-pid', '--unshare-ipc', '--die-with-parent', '--clearenv', '--new-session');
  args.push('--info-fd', String(options.infoFd), '--chdir', '/');
  if (root) {
    args.push('--cap-drop', 'ALL', ...CAPABILITIES.flatMap((name) => ['--cap-add', name]));
  }
  args.push('--', '/bin/sh');
  if (rootfs === undefined || !root) return { program: 'bwrap', args };
  return overlaid(options.dir, rootfs, args);
}

/** An image's root: writable over the image for root, read-only for others. */
function imageRoot({ dir, rootfs = '', root }: SandboxOptions): string[] {
  const args = root ? ['--bind', `${dir}/root`, '/'] : ['--ro-bind', rootfs, '/'];
  if (isDirectory(`${rootfs}/sys`)) args.push('--ro-bind', '/sys', '/sys');
  // The network is the host's, so names are looked up as the host does.
  for (const file of ['/etc/resolv.conf', '/etc/hosts']) {
    if (isFile(rootfs + file)) args.push('--ro-bind-try', file, file);
  }
  return args;
}

/**
 * What user code writes outside /pfs goes to a layer of the slot's own, which is gone with the
 * sandbox; the mount is in a namespace of its own, so nothing has to be unmounted.
 */
function overlaid(dir: string, rootfs: string, args: readonly string[]): SandboxLine {
  const at = quote(dir);
  const script = [
    `rm -rf ${at}/upper ${at}/overlay && mkdir -p ${at}/upper ${at}/overlay ${at}/root`,
    `mount -t overlay tusk -o "lowerdir=$0,upperdir=${dir}/upper,workdir=${dir}/overlay" ${at}/root`,
    'exec bwrap "$@"',
  ].join(' && ');
  return { program: 'unshare', args: ['--mount', '--', '/bin/sh', '-c', script, rootfs, ...args] };
}

/**
 * The same with util-linux only, for hosts without bwrap; /pfs must exist (or be creatable) and the
 * rest of the host stays writable for whom it is. The outer shell is the namespace's pid 1 and
 * collects orphans.
 */
export function unshareLine(options: SandboxOptions): SandboxLine {
  const dir = quote(options.dir);
  const script = [
    'set -e',
    'mkdir -p /pfs 2>/dev/null || [ -d /pfs ]',
    `mount --bind ${dir}/pfs /pfs`,
    'mount -o remount,bind,ro /pfs',
    ...(options.bare ? [] : [`mount --bind ${dir}/out /pfs/out`]),
    ...(options.mounts ?? []).flatMap(([from, to]) => unshareMount(from, to)),
    ...PRIVATE_DIRS.map((path) => `mount -t tmpfs -o mode=1777 tusk ${path}`),
    'cd /',
    'set +e',
    `exec 4<&0`,
    // Without the right to mount, inputs stay read-only for root too.
    `${options.root ? 'setpriv --bounding-set=-sys_admin ' : ''}/bin/sh <&4 4<&- &`,
    'exec 4<&- 3>&-',
    'wait $!',
  ].join('\n');
  const user = options.root ? [] : ['--user', '--map-root-user'];
  const args = [...user, '--mount', '--pid', '--ipc', '--fork', '--kill-child', '--mount-proc'];
  return { program: 'unshare', args: [...args, '--', '/bin/sh', '-c', script] };
}

/** Without bwrap a mount point has to be there, or be makeable by this worker's user. */
function unshareMount(from: string, to: string): string[] {
  const missing = `no directory ${to} to mount at: make it, or install bubblewrap`;
  return [
    `mkdir -p ${quote(to)} 2>/dev/null || [ -d ${quote(to)} ] || { echo ${quote(missing)} >&2; exit 1; }`,
    `mount --bind ${quote(from)} ${quote(to)}`,
    `mount -o remount,bind,ro ${quote(to)}`,
  ];
}

/** Mounts for every top-level directory of the host, links kept as links. */
function hostRoot(mounts: readonly Mount[]): string[] {
  const args: string[] = [];
  for (const name of readdirSync('/')) {
    if (['proc', 'dev', 'tmp', 'pfs', 'lost+found'].includes(name)) continue;
    args.push(...shown(`/${name}`, mounts));
  }
  return args;
}

/**
 * A path of the host, read-only. A directory in which a mount point has to be made is put together
 * from what is in it, because nothing can be made below a read-only one.
 */
function shown(path: string, mounts: readonly Mount[]): string[] {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) return [];
  if (stat.isSymbolicLink()) return ['--symlink', readlinkSync(path), path];
  const opened = mounts.some(([, to]) => to.startsWith(`${path}/`) && !isDirectory(to));
  if (opened && stat.isDirectory()) {
    const inner = readdirSync(path).flatMap((name) => shown(`${path}/${name}`, mounts));
    return ['--dir', path, ...inner];
  }
  const bound = stat.isDirectory() || (stat.isFile() && path.lastIndexOf('/') > 0);
  return bound ? ['--ro-bind-try', path, path] : [];
}

function isDirectory(path: string): boolean {
  try {
    return lstatSync(path).isDirectory();
  } catch {
    return false;
  }
}

function isFile(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isFile() === true;
}
