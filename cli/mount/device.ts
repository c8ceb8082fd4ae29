/**
 * The kernel's side of a mount: /dev/fuse is opened and mounted, requests are read and answered until
 * the directory is unmounted. Root mounts by itself; an ordinary user through fusermount3, which
 * hands the opened device over a socket that Node can not receive from, so a short Python program
 * takes it and becomes this program again (see `asUser`).
 */
import { spawn } from 'node:child_process';
import { open, read, write, close } from 'node:fs';
import { promisify } from 'node:util';
import { messageOf, stateConflict } from '../../core/errors.js';
import { Semaphore } from '../../core/semaphore.js';
import { NEVER } from '../../core/signals.js';
import type { Log } from './log.js';
import { FuseError, OP, parseRequest, reply, REQUEST_BYTES, type Request } from './wire.js';
import { constants as os } from 'node:os';

const openFile = promisify(open);
const readFile = promisify(read);
const writeFile = promisify(write);
const closeFile = promisify(close);

/** Requests answered at the same time. */
const PARALLEL = 16;

/** Answers one request; nothing for requests that have no answer. */
export type Answer = (request: Request) => Promise<Buffer | undefined>;

export class FuseDevice {
  private constructor(
    readonly fd: number,
    readonly dir: string,
    readonly log: Log,
  ) {}

  /** Mounts `dir` as root. Throws STATE_CONFLICT with the next step where that is not possible. */
  static async mount(dir: string, options: { readonly?: boolean; log: Log }): Promise<FuseDevice> {
    let fd: number;
    try {
      fd = await openFile('/dev/fuse', 'r+');
    } catch (error) {
      throw stateConflict(
        `could not open /dev/fuse: ${messageOf(error)}; mounting needs Linux with FUSE (modprobe fuse)`,
        { cause: error },
      );
    }
    const how = [
      options.readonly ? 'ro' : 'rw',
      'nosuid',
      'nodev',
      'fd=3',
      'rootmode=40000',
      `user_id=${process.getuid?.() ?? 0}`,
      `group_id=${process.getgid?.() ?? 0}`,
    ].join(',');
    const args = ['-i', '-t', 'fuse.tusk', '-o', how, `tusk:${process.pid}`, dir];
    const { code, text } = await run('mount', args, fd);
    if (code !== 0) {
      await closeFile(fd);
      throw stateConflict(`could not mount ${dir}: ${text}`);
    }
    return new FuseDevice(fd, dir, options.log);
  }

  /** A device that was mounted for this process already. */
  static adopt(fd: number, dir: string, log: Log): FuseDevice {
    return new FuseDevice(fd, dir, log);
  }

  /** Answers requests until the directory is unmounted. */
  async serve(answer: Answer): Promise<void> {
    const slots = new Semaphore(PARALLEL);
    const running = new Set<Promise<void>>();
    for (;;) {
      const request = await this.#next();
      if (!request) break;
      await slots.acquire({ signal: NEVER });
      const task = this.#answer(request, answer).finally(() => {
        slots.release();
        running.delete(task);
      });
      running.add(task);
    }
    await Promise.all(running);
    await closeFile(this.fd);
  }

  /** The next request; nothing once the directory is unmounted. */
  async #next(): Promise<Request | undefined> {
    for (;;) {
      const buffer = Buffer.allocUnsafe(REQUEST_BYTES);
      try {
        const { bytesRead } = await readFile(this.fd, buffer, 0, buffer.length, null);
        if (bytesRead === 0) return undefined;
        return parseRequest(buffer.subarray(0, bytesRead));
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'ENODEV') return undefined;
        // The request was taken back, or a signal came.
        if (code !== 'ENOENT' && code !== 'EINTR' && code !== 'EAGAIN') throw error;
      }
    }
  }

  async #answer(request: Request, answer: Answer): Promise<void> {
    let bytes: Buffer | undefined;
    try {
      const body = await answer(request);
      if (silent(request.opcode)) return;
      bytes = reply(request.unique, body ?? Buffer.alloc(0));
    } catch (error) {
      if (silent(request.opcode)) return;
      if (!(error instanceof FuseError)) this.log(`I/O error: ${messageOf(error)}`);
      const errno = error instanceof FuseError ? error.errno : os.errno.EIO;
      bytes = reply(request.unique, Buffer.alloc(0), errno);
    }
    try {
      await writeFile(this.fd, bytes, 0, bytes.length, null);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // The one who asked is gone, or the mount is.
      if (code !== 'ENOENT' && code !== 'ENODEV') throw error;
    }
  }
}

function silent(opcode: number): boolean {
  return opcode === OP.FORGET || opcode === OP.BATCH_FORGET || opcode === OP.INTERRUPT;
}

export interface Ran {
  readonly code: number;
  readonly text: string;
}

/** Runs a program, with `fd` (when given) as its descriptor 3, and gathers what it says. */
export async function run(program: string, args: readonly string[], fd?: number): Promise<Ran> {
  return new Promise((resolve) => {
    const stdio: ('ignore' | 'pipe' | number)[] = ['ignore', 'pipe', 'pipe'];
    if (fd !== undefined) stdio.push(fd);
    const child = spawn(program, args, { stdio });
    const said: Buffer[] = [];
    child.stdout?.on('data', (part: Buffer) => said.push(part));
    child.stderr?.on('data', (part: Buffer) => said.push(part));
    child.on('error', (error) => resolve({ code: 127, text: error.message }));
    child.on('close', (code) =>
      resolve({ code: code ?? 1, text: Buffer.concat(said).toString().trim() }),
    );
  });
}

/** Takes the mounted device from fusermount3 as descriptor 3, then becomes the given program. */
const TAKE_DEVICE = `
import array, os, socket, sys
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
pid = os.getpid()
child = os.fork()
if child == 0:
    os.set_inheritable(theirs.fileno(), True)
    os.environ["_FUSE_COMMFD"] = str(theirs.fileno())
    os.execvp("fusermount3", ["fusermount3", "-o", sys.argv[2].replace("PID", str(pid)), "--", sys.argv[1]])
theirs.close()
_, parts, _, _ = ours.recvmsg(1, socket.CMSG_LEN(4))
if not parts:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or 1)
fd = array.array("i", parts[0][2][:4])[0]
os.waitpid(child, 0)
if fd != 3:
    os.dup2(fd, 3)
    os.close(fd)
os.set_inheritable(3, True)
os.execvp(sys.argv[3], sys.argv[3:])
`;

/**
 * Mounts as an ordinary user by running this program again with `--fuse-fd 3`. Returns the exit code
 * of that second run.
 */
export async function asUser(dir: string, readonly: boolean): Promise<number> {
  const options = `${readonly ? 'ro' : 'rw'},nosuid,nodev,fsname=tusk:PID,subtype=tusk`;
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1), '--fuse-fd', '3'];
  const args = ['-c', TAKE_DEVICE, dir, options, ...again];
  return new Promise((resolve, reject) => {
    const child = spawn('python3', args, { stdio: 'inherit' });
    child.on('error', (error) => {
      reject(
        stateConflict(
          `mounting as an ordinary user needs fusermount3 and python3 (packages fuse3 and python3), or run as root: ${error.message}`,
        ),
      );
    });
    child.on('close', (code) => resolve(code ?? 1));
  });
}
