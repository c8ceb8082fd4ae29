/**
 * Metadata of one moment on its way into an archive: in a file, so that neither a slow reader nor
 * etcd's compaction matters, and from there in the order in which a restore has to write it. In
 * memory are 24 bytes per key; etcd holds some millions at most.
 */
import { mkdir, open, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { newUuid } from '../../core/ids.js';
import type { KV } from '../meta/index.js';
import type { ArchiveRecord } from './archive-format.js';
import { stageOf } from './keys.js';

/** Bytes gathered before they are written. */
const WRITE_BYTES = 1024 * 1024;
/** Both lengths, before key and value. */
const HEAD_BYTES = 8;

export class RecordSpool implements AsyncDisposable {
  readonly #file: FileHandle;
  readonly #path: string;
  readonly #stages: number[] = [];
  readonly #made: number[] = [];
  readonly #offsets: number[] = [0];
  #parts: Buffer[] = [];
  #held = 0;
  #written = 0;

  private constructor(file: FileHandle, path: string) {
    this.#file = file;
    this.#path = path;
  }

  /** An empty spool in a file below `dir`. */
  static async open(dir: string): Promise<RecordSpool> {
    await mkdir(dir, { recursive: true });
    const path = join(dir, `extract-${newUuid()}`);
    return new RecordSpool(await open(path, 'wx+'), path);
  }

  get count(): number {
    return this.#made.length;
  }

  async add(kv: Pick<KV, 'key' | 'createRevision'>, value: Buffer): Promise<void> {
    const key = Buffer.from(kv.key);
    const head = Buffer.allocUnsafe(HEAD_BYTES);
    head.writeUInt32LE(key.length, 0);
    head.writeUInt32LE(value.length, 4);
    this.#parts.push(head, key, value);
    this.#held += HEAD_BYTES + key.length + value.length;
    this.#stages.push(stageOf(kv.key));
    this.#made.push(kv.createRevision);
    this.#offsets.push(this.#written + this.#held);
    if (this.#held >= WRITE_BYTES) await this.#flush();
  }

  /** All records of a kind in the order of their making. */
  async *sorted(kind: 'records' | 'roots'): AsyncGenerator<ArchiveRecord> {
    await this.#flush();
    const stages = this.#stages;
    const made = this.#made;
    const order = stages.map((_, i) => i).filter((i) => (stages[i] === 2) === (kind === 'roots'));
    order.sort(
      (a, b) =>
        (stages[a] as number) - (stages[b] as number) ||
        (made[a] as number) - (made[b] as number) ||
        a - b,
    );
    for (const index of order) yield this.#read(index);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
    await rm(this.#path, { force: true });
  }

  async #read(index: number): Promise<ArchiveRecord> {
    const from = this.#offsets[index] as number;
    const bytes = Buffer.allocUnsafe((this.#offsets[index + 1] as number) - from);
    await this.#file.read(bytes, 0, bytes.length, from);
    const keyEnd = HEAD_BYTES + bytes.readUInt32LE(0);
    const key = bytes.toString('utf8', HEAD_BYTES, keyEnd);
    return { key, value: bytes.subarray(keyEnd), made: this.#made[index] as number };
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#held = 0;
    for (let at = 0; at < bytes.length;) {
      const { bytesWritten } = await this.#file.write(bytes, at, bytes.length - at, this.#written);
      at += bytesWritten;
      this.#written += bytesWritten;
    }
  }
}
