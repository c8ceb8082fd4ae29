/**
 * The mounted directory: one subdirectory per repo. Answers the kernel's requests from volumes.
 *
 * F1  A node number names one path for as long as the kernel remembers it (LOOKUP up to FORGET).
 */
import { posix } from 'node:path';
import type { Item } from './remote.js';
import type { Volume } from './volume.js';
import {
  attrReply,
  dirReply,
  entryReply,
  FuseError,
  initReply,
  namesIn,
  OP,
  openReply,
  sizeIn,
  statfsReply,
  transferIn,
  writeReply,
  writtenIn,
  type Attr,
  type DirEntry,
  type Owner,
  type Request,
} from './wire.js';

interface Node {
  readonly ino: number;
  /** Absent for the root, which holds the volumes. */
  readonly volume?: Volume;
  path: string;
  /** How many of the kernel's references there are. */
  lookups: number;
}

const ROOT = 1;
const O_TRUNC = 0o1000;
const O_ACCMODE = 3;
const EMPTY = Buffer.alloc(0);
const NAME_OPS: ReadonlySet<number> = new Set([
  ...[OP.CREATE, OP.MKNOD, OP.MKDIR, OP.UNLINK, OP.RMDIR, OP.RENAME, OP.RENAME2],
]);

export class FileSystem {
  readonly #nodes = new Map<number, Node>([[ROOT, { ino: ROOT, path: '/', lookups: 1 }]]);
  readonly #byPath = new Map<string, Node>();
  readonly #listings = new Map<number, readonly DirEntry[]>();
  #lastNode = ROOT;
  #lastHandle = 0;

  constructor(
    readonly volumes: ReadonlyMap<string, Volume>,
    readonly owner: Owner,
    readonly timeMs: number,
  ) {}

  /** Answers one request; throws FuseError for a refusal the kernel understands. */
  async answer(request: Request): Promise<Buffer | undefined> {
    const { opcode, body } = request;
    switch (opcode) {
      case OP.INIT:
        return initReply(body);
      case OP.FORGET:
        return this.#forget(request.node, Number(body.readBigUInt64LE(0)));
      case OP.BATCH_FORGET:
        for (let at = 8; at + 16 <= body.length; at += 16) {
          const node = Number(body.readBigUInt64LE(at));
          this.#forget(node, Number(body.readBigUInt64LE(at + 8)));
        }
        return undefined;
      case OP.STATFS:
        return statfsReply();
      case OP.RELEASEDIR:
        this.#listings.delete(Number(body.readBigUInt64LE(0)));
        return EMPTY;
      case OP.READDIR:
        return this.#readDir(request);
      case OP.ACCESS:
      case OP.FLUSH:
      case OP.FSYNC:
      case OP.FSYNCDIR:
      case OP.RELEASE:
      case OP.INTERRUPT:
      case OP.DESTROY:
        return EMPTY;
      default:
        return this.#onNode(this.#node(request.node), request);
    }
  }

  async #onNode(node: Node, { opcode, body }: Request): Promise<Buffer> {
    switch (opcode) {
      case OP.LOOKUP:
        return this.#entry(node, namesIn(body, 0)[0] ?? '');
      case OP.GETATTR:
        return attrReply(await this.#attr(node), this.owner);
      case OP.SETATTR:
        return this.#setAttr(node, sizeIn(body));
      case OP.OPENDIR:
        return this.#openDir(node);
      case OP.OPEN:
        return this.#open(node, body.readUInt32LE(0));
      case OP.READ: {
        const { offset, size } = transferIn(body);
        return this.#volume(node).read(node.path, offset, size);
      }
      case OP.WRITE: {
        const { offset, size } = transferIn(body);
        await this.#volume(node).write(node.path, offset, writtenIn(body, size));
        return writeReply(size);
      }
      default:
        return this.#onName(node, { opcode, body });
    }
  }

  /** Requests that make, remove or move an entry of a directory. */
  async #onName(dir: Node, { opcode, body }: Pick<Request, 'opcode' | 'body'>): Promise<Buffer> {
    // Links, locks and extended attributes: the kernel does not ask a second time.
    if (!NAME_OPS.has(opcode)) throw new FuseError('ENOSYS');
    const volume = this.#volume(dir, 'EPERM');
    const at = (name: string): string => posix.join(dir.path, name);
    switch (opcode) {
      case OP.CREATE: {
        const [name = ''] = namesIn(body, 16);
        await volume.create(at(name));
        return Buffer.concat([await this.#entry(dir, name), openReply(0)]);
      }
      case OP.MKNOD: {
        // Regular files only: devices, pipes and sockets can not be stored.
        if ((body.readUInt32LE(0) & 0o170000) !== 0o100000) throw new FuseError('EPERM');
        const [name = ''] = namesIn(body, 16);
        await volume.create(at(name));
        return this.#entry(dir, name);
      }
      case OP.MKDIR: {
        const [name = ''] = namesIn(body, 8);
        await volume.mkdir(at(name));
        return this.#entry(dir, name);
      }
      case OP.UNLINK:
      case OP.RMDIR: {
        const path = at(namesIn(body, 0)[0] ?? '');
        await volume.remove(path, opcode === OP.RMDIR ? 'dir' : 'file');
        this.#byPath.delete(key(volume, path));
        return EMPTY;
      }
      case OP.RENAME:
      case OP.RENAME2:
        return this.#rename(dir, body, opcode === OP.RENAME ? 8 : 16);
      default:
        throw new FuseError('ENOSYS');
    }
  }

  async #rename(dir: Node, body: Buffer, head: number): Promise<Buffer> {
    const target = this.#node(Number(body.readBigUInt64LE(0)));
    // Flags: exchange, whiteout, no-replace. None is needed to move a file.
    if (head === 16 && body.readUInt32LE(8) !== 0) throw new FuseError('EINVAL');
    const volume = this.#volume(dir, 'EPERM');
    if (this.#volume(target, 'EPERM') !== volume) throw new FuseError('EXDEV');
    const [oldName = '', newName = ''] = namesIn(body, head);
    const from = posix.join(dir.path, oldName);
    const to = posix.join(target.path, newName);
    await volume.rename(from, to);
    const node = this.#byPath.get(key(volume, from));
    this.#byPath.delete(key(volume, from));
    this.#byPath.delete(key(volume, to));
    if (node) {
      node.path = to;
      this.#byPath.set(key(volume, to), node);
    }
    return EMPTY;
  }

  async #entry(dir: Node, name: string): Promise<Buffer> {
    const node = await this.#take(dir, name);
    if (!node) throw new FuseError('ENOENT');
    try {
      return entryReply(await this.#attr(node), this.owner);
    } catch (error) {
      this.#forget(node.ino, 1);
      throw error;
    }
  }

  /** The node of an entry, with one more reference of the kernel's. */
  async #take(dir: Node, name: string): Promise<Node | undefined> {
    const volume = dir.volume ?? this.volumes.get(name);
    if (!volume) return undefined;
    const path = dir.volume ? posix.join(dir.path, name) : '/';
    if (!(await volume.stat(path))) return undefined;
    const known = this.#byPath.get(key(volume, path));
    if (known) {
      known.lookups += 1;
      return known;
    }
    const node: Node = { ino: (this.#lastNode += 1), volume, path, lookups: 1 };
    this.#nodes.set(node.ino, node);
    this.#byPath.set(key(volume, path), node);
    return node;
  }

  async #attr(node: Node): Promise<Attr> {
    const { volume, ino } = node;
    if (!volume) return { ino, dir: true, writable: false, size: 0, mtimeMs: this.timeMs };
    const item: Item | undefined = await volume.stat(node.path);
    if (!item) throw new FuseError('ENOENT');
    const changed = volume.changes.has(node.path);
    const mtimeMs = changed ? this.timeMs : volume.source.timeMs;
    return { ino, dir: item.dir, writable: volume.source.writable, size: item.size, mtimeMs };
  }

  async #setAttr(node: Node, size: number | undefined): Promise<Buffer> {
    // Times, owners and modes are not stored; changing them quietly does nothing.
    if (size !== undefined) await this.#volume(node).truncate(node.path, size);
    return attrReply(await this.#attr(node), this.owner);
  }

  async #open(node: Node, flags: number): Promise<Buffer> {
    const volume = this.#volume(node);
    if ((flags & O_ACCMODE) !== 0 && !volume.source.writable) throw new FuseError('EROFS');
    if ((flags & O_TRUNC) !== 0) await volume.truncate(node.path, 0);
    return openReply(0);
  }

  async #openDir(node: Node): Promise<Buffer> {
    const items: DirEntry[] = node.volume
      ? await node.volume.list(node.path)
      : [...this.volumes.keys()].map((name) => ({ name, dir: true }));
    const handle = (this.#lastHandle += 1);
    this.#listings.set(handle, [{ name: '.', dir: true }, { name: '..', dir: true }, ...items]);
    return openReply(handle);
  }

  #readDir({ body }: Request): Buffer {
    const { handle, offset, size } = transferIn(body);
    return dirReply(this.#listings.get(handle) ?? [], offset, size);
  }

  #node(ino: number): Node {
    const node = this.#nodes.get(ino);
    if (!node) throw new FuseError('ENOENT');
    return node;
  }

  #volume(node: Node, refusal: 'EISDIR' | 'EPERM' = 'EISDIR'): Volume {
    if (!node.volume) throw new FuseError(refusal);
    return node.volume;
  }

  #forget(ino: number, count: number): undefined {
    const node = this.#nodes.get(ino);
    if (!node || ino === ROOT) return;
    node.lookups -= count;
    if (node.lookups > 0 || !node.volume) return;
    this.#nodes.delete(ino);
    const path = key(node.volume, node.path);
    if (this.#byPath.get(path) === node) this.#byPath.delete(path);
  }
}

const key = (volume: Volume, path: string): string => `${volume.source.repo}:${path}`;
