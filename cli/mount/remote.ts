/** One commit as a read-only tree of files: listings and blocks of bytes, both kept for a while. */
import {
  FileType,
  GetFileRequest,
  InspectFileRequest,
  ListFileRequest,
  type FileInfo,
} from '../../proto/generated/pfs.js';
import { codeOf } from '../../core/errors.js';
import { asBytes } from '../client/bytes.js';
import type { Client } from '../client/client.js';
import { literalPath } from '../put/literal-path.js';

export interface Item {
  readonly name: string;
  readonly dir: boolean;
  /** Bytes; 0 for directories. */
  readonly size: number;
}

/** Bytes of one read from the server. */
const BLOCK_BYTES = 2 * 1024 * 1024;
const BLOCKS_KEPT = 48;
const LISTINGS_KEPT = 256;
/** A longer listing is not kept: it is read again rather than held. */
const KEPT_NAMES = 20_000;

export class RemoteTree {
  readonly #listings = new Map<string, readonly Item[]>();
  readonly #blocks = new Map<string, Promise<Buffer>>();

  /** `commit` is a commit id; empty for a branch without commits. */
  constructor(
    readonly client: Client,
    readonly repo: string,
    readonly commit: string,
  ) {}

  /** Entries of a directory by name; nothing when it is not there. */
  async list(path: string): Promise<readonly Item[]> {
    const known = this.#listings.get(path);
    if (known) return known;
    if (this.commit === '') return [];
    const items: Item[] = [];
    const request = ListFileRequest.fromPartial({ file: this.#file(path) });
    try {
      for await (const info of this.client.stream(this.client.pfs.listFileStream, request)) {
        items.push(itemOf(info));
      }
    } catch (error) {
      // The root of a commit without files is not there either.
      if (codeOf(error) !== 'NOT_FOUND') throw error;
    }
    if (items.length <= KEPT_NAMES) keep(this.#listings, path, items, LISTINGS_KEPT);
    return items;
  }

  async stat(path: string): Promise<Item | undefined> {
    const slash = path.lastIndexOf('/');
    const name = path.slice(slash + 1);
    const known = this.#listings.get(path.slice(0, slash) || '/');
    if (known) return known.find((item) => item.name === name);
    if (this.commit === '') return undefined;
    try {
      const request = InspectFileRequest.fromPartial({ file: this.#file(path) });
      return itemOf(await this.client.unary(this.client.pfs.inspectFile, request));
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return undefined;
      throw error;
    }
  }

  /** Bytes `[offset, offset + size)` of a file, fewer at its end. */
  async read(item: { path: string; size: number }, offset: number, size: number): Promise<Buffer> {
    const end = Math.min(offset + size, item.size);
    if (offset >= end) return Buffer.alloc(0);
    const parts: Buffer[] = [];
    const last = Math.floor((end - 1) / BLOCK_BYTES);
    for (let block = Math.floor(offset / BLOCK_BYTES); block <= last; block += 1) {
      const bytes = await this.#block(item.path, block);
      const start = block * BLOCK_BYTES;
      parts.push(bytes.subarray(Math.max(0, offset - start), end - start));
    }
    // Who reads on will want the next block.
    if ((last + 1) * BLOCK_BYTES < item.size && offset % BLOCK_BYTES >= BLOCK_BYTES / 2) {
      this.#block(item.path, last + 1).catch(() => undefined);
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  #block(path: string, block: number): Promise<Buffer> {
    const key = `${block}:${path}`;
    const known = this.#blocks.get(key);
    const bytes = known ?? this.#fetch(path, block);
    // Also moves it to the young end.
    keep(this.#blocks, key, bytes, BLOCKS_KEPT);
    bytes.catch(() => this.#blocks.delete(key));
    return bytes;
  }

  async #fetch(path: string, block: number): Promise<Buffer> {
    const request = GetFileRequest.fromPartial({
      file: this.#file(path),
      offsetBytes: block * BLOCK_BYTES,
      sizeBytes: BLOCK_BYTES,
    });
    const parts: Uint8Array[] = [];
    for await (const part of this.client.stream(this.client.pfs.getFile, request)) {
      parts.push(asBytes(part));
    }
    return Buffer.concat(parts);
  }

  #file(path: string) {
    const commit = { repo: { name: this.repo }, id: this.commit };
    return { commit, path: literalPath(path) };
  }
}

function itemOf(info: FileInfo): Item {
  const path = info.file?.path ?? '';
  const dir = info.fileType === FileType.DIR;
  return { name: path.slice(path.lastIndexOf('/') + 1), dir, size: dir ? 0 : info.sizeBytes };
}

/** Puts an entry at the young end of a map and drops the oldest beyond `most`. */
function keep<V>(map: Map<string, V>, key: string, value: V, most: number): void {
  map.delete(key);
  map.set(key, value);
  for (const oldest of map.keys()) {
    if (map.size <= most) break;
    map.delete(oldest);
  }
}
