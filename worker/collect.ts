/**
 * Reads what user code left in /pfs/out. Files are uploaded, links into inputs become references
 * (nothing read, nothing uploaded), other links are followed.
 */
import { closeSync, lstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { excerpt, invalidInput, messageOf } from '../core/errors.js';
import type { DatumInput, WorkDatum } from '../queue/messages.js';
import { PACKED_BYTES_MAX, type ContentWriter } from '../storage/index.js';
import { decodeNode } from '../storage/node-format.js';
import type { FileContent, RunOp, TreeNode, Wait } from '../storage/types.js';
import type { InputTrees } from './ports.js';
import { resolveInside, type Resolved } from './sandbox-path.js';
import { nextTurn, type SlotFiles } from './slot-files.js';

const READ_BYTES = 1024 * 1024;
const FILES_PER_TURN = 64;
/** Characters. */
const SAID_MAX = 300;

export interface Collected {
  readonly ops: readonly RunOp[];
  readonly uploadBytes: number;
  readonly hasMkdir: boolean;
  /** What lies in /pfs/out itself. */
  readonly names: readonly string[];
}

export interface CollectOptions extends Wait {
  readonly datum: WorkDatum;
  readonly files: SlotFiles;
  /** `/proc/<pid>/root` of the sandbox, or empty. */
  readonly root: string;
  readonly trees: InputTrees;
  /** Asked for on first use: most tasks of some pipelines write nothing. */
  readonly writer: () => ContentWriter;
}

export async function collectOutput(options: CollectOptions): Promise<Collected> {
  const collector = new Collector(options);
  try {
    await collector.root();
  } catch (error) {
    throw error instanceof WalkError ? error.seenFrom(options) : error;
  }
  return collector;
}

class Collector implements Collected {
  readonly ops: RunOp[] = [];
  uploadBytes = 0;
  hasMkdir = false;
  names: readonly string[] = [];
  #seen = 0;

  constructor(readonly options: CollectOptions) {}

  async root(): Promise<void> {
    this.names = list(this.options.files.out, '');
    await this.#entries('', this.names);
  }

  /** A directory below out; `path` starts with a slash. */
  async #dir(path: string): Promise<void> {
    const names = list(this.options.files.out + path, path);
    if (names.length === 0) {
      this.ops.push({ op: 'mkdir', path, seq: this.options.datum.index });
      this.hasMkdir = true;
    }
    await this.#entries(path, names);
  }

  async #entries(path: string, names: readonly string[]): Promise<void> {
    for (const name of names) {
      await this.#entry(`${path}/${name}`);
      this.#seen += 1;
      if (this.#seen % FILES_PER_TURN === 0) {
        await nextTurn();
        this.options.signal.throwIfAborted();
      }
    }
  }

  async #entry(path: string): Promise<void> {
    const host = this.options.files.out + path;
    const stat = walking(() => lstatSync(host));
    if (stat.isDirectory()) await this.#dir(path);
    else if (stat.isFile()) await this.#file(path, host, stat.size);
    else if (stat.isSymbolicLink()) await this.#link(path);
    else throw special(path, stat);
  }

  async #file(path: string, host: string, size: number): Promise<void> {
    const small = size < PACKED_BYTES_MAX;
    const content = small ? await this.#small(host, size) : await this.#large(host);
    this.uploadBytes += content.size;
    this.ops.push({ op: 'append', path, seq: this.options.datum.index, content });
  }

  async #small(host: string, size: number): Promise<FileContent> {
    const bytes = walking(() => readWhole(host, size));
    return this.options.writer().writeBytes(bytes);
  }

  async #large(host: string): Promise<FileContent> {
    const sink = this.options.writer().beginFile();
    const file = await open(host).catch((error: unknown) => {
      throw walkError(error);
    });
    try {
      for (;;) {
        this.options.signal.throwIfAborted();
        // The sink keeps what it is given, so every read gets a buffer of its own.
        const buffer = Buffer.allocUnsafe(READ_BYTES);
        const { bytesRead } = await file.read(buffer, 0, READ_BYTES, null);
        if (bytesRead === 0) break;
        const room = sink.write(buffer.subarray(0, bytesRead));
        if (room) await room;
      }
    } finally {
      await file.close();
    }
    return sink.end();
  }

  async #link(path: string): Promise<void> {
    const { files, root } = this.options;
    const target = walking(() => resolveInside(`/pfs/out${path}`, files, root));
    if (await this.#reference(path, target)) return;
    const { stat, host } = target;
    if (stat.isFile()) await this.#file(path, host, stat.size);
    else if (stat.isDirectory()) {
      throw invalidInput(`error walking output: read ${target.path}: is a directory`);
    } else throw special(path, stat);
  }

  /** A link into the datum's inputs: what it points at is taken over by reference. */
  async #reference(path: string, target: Resolved): Promise<boolean> {
    let found = false;
    for (const input of this.options.datum.inputs) {
      const base = `/pfs/${input.name}`;
      if (target.path !== base && !target.path.startsWith(`${base}/`)) continue;
      const inside = target.path.slice(base.length);
      const match = input.path === '/' ? '' : input.path;
      if (inside === match || inside.startsWith(`${match}/`)) {
        const node = await this.#lookup(input, inside.slice(match.length));
        if (node) this.#graft(path, node);
        found ||= node !== undefined;
      } else if (match.startsWith(`${inside}/`)) {
        // A directory above the match holds nothing but the match.
        this.#graft(path + match.slice(inside.length), nodeOf(input));
        found = true;
      }
    }
    return found;
  }

  async #lookup(input: DatumInput, path: string): Promise<TreeNode | undefined> {
    const node = nodeOf(input);
    if (path === '' || node.type === 'file') return path === '' ? node : undefined;
    return this.options.trees.lookup(node, path, this.options);
  }

  #graft(path: string, node: TreeNode): void {
    const seq = this.options.datum.index;
    if (node.type === 'dir') this.ops.push({ op: 'graft', path, seq, node });
    else {
      const { size, hash, pieces } = node;
      this.ops.push({ op: 'append', path, seq, content: { size, hash, pieces } });
    }
  }
}

function nodeOf(input: DatumInput): TreeNode {
  return decodeNode(Buffer.from(input.node, 'base64'));
}

/** Names in byte order. */
function list(host: string, path: string): string[] {
  const names = walking(() => readdirSync(host));
  if (names.some((name) => name.includes('\uFFFD'))) checkUtf8(host, path);
  return names.length > 1 ? names.sort(byBytes) : names;
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function checkUtf8(host: string, path: string): void {
  for (const bytes of readdirSync(host, { encoding: 'buffer' })) {
    const name = bytes.toString();
    if (!Buffer.from(name).equals(bytes)) {
      throw invalidInput(`file path is not valid utf-8: ${path}/${name}`);
    }
  }
}

/** The first `size` bytes, or as many as there are. */
function readWhole(host: string, size: number): Buffer {
  const fd = openSync(host, 'r');
  try {
    const bytes = Buffer.allocUnsafe(size);
    let at = 0;
    for (;;) {
      const length = at < bytes.length ? readSync(fd, bytes, at, bytes.length - at, null) : 0;
      if (length === 0) return bytes.subarray(0, at);
      at += length;
    }
  } finally {
    closeSync(fd);
  }
}

function special(path: string, stat: { isFIFO(): boolean; isSocket(): boolean }): Error {
  const what = stat.isFIFO() ? 'named pipe' : stat.isSocket() ? 'socket' : 'device';
  return invalidInput(`cannot upload special file: cannot upload ${what}: ${path.slice(1)}`);
}

/** Failures of the file system while /pfs/out is read are the datum's, by the known text. */
function walking<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw walkError(error);
  }
}

function walkError(error: unknown): Error {
  return new WalkError(error);
}

/** What the system said. */
class WalkError extends Error {
  constructor(override readonly cause: unknown) {
    super(messageOf(cause));
  }

  /** As the datum saw it: below /pfs/out, and not longer than people read. */
  seenFrom({ files, root }: Pick<CollectOptions, 'files' | 'root'>): Error {
    let said = this.message.replaceAll(files.out, '/pfs/out').replaceAll(files.pfs, '/pfs');
    if (root !== '') said = said.replaceAll(root, '');
    said = excerpt(said, SAID_MAX);
    return invalidInput(`error walking output: ${said}`, { cause: this.cause });
  }
}
