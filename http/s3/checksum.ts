/** The checksums S3 clients send along: each is fed bytes and gives its digest. */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

export interface Checksum {
  update(bytes: Uint8Array): void;
  digest(): Buffer;
}

export const CHECKSUM_NAMES = ['crc32', 'crc32c', 'crc64nvme', 'sha1', 'sha256'] as const;
export type ChecksumName = (typeof CHECKSUM_NAMES)[number];

export function newChecksum(name: ChecksumName | 'md5'): Checksum {
  switch (name) {
    case 'crc32':
      return new Crc32();
    case 'crc32c':
      return new Crc32c();
    case 'crc64nvme':
      return new Crc64Nvme();
    case 'md5':
    case 'sha1':
    case 'sha256': {
      const hash = createHash(name);
      return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest() };
    }
  }
}

class Crc32 implements Checksum {
  #value = 0;

  update(bytes: Uint8Array): void {
    this.#value = crc32(bytes, this.#value);
  }

  digest(): Buffer {
    return uint32(this.#value);
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

const CRC32C_POLYNOMIAL = 0x82f63b78;
/** Eight tables: eight bytes are taken at a time. */
let crc32cTables: Uint32Array[] | undefined;

function makeCrc32cTables(): Uint32Array[] {
  const tables = Array.from({ length: 8 }, () => new Uint32Array(256));
  const first = tables[0] as Uint32Array;
  for (let byte = 0; byte < 256; byte += 1) {
    let value = byte;
    for (let bit = 0; bit < 8; bit += 1) {
      value = value & 1 ? (value >>> 1) ^ CRC32C_POLYNOMIAL : value >>> 1;
    }
    first[byte] = value;
  }
  for (let byte = 0; byte < 256; byte += 1) {
    let value = first[byte] as number;
    for (const table of tables.slice(1)) {
      value = (first[value & 0xff] as number) ^ (value >>> 8);
      table[byte] = value;
    }
  }
  return tables;
}

class Crc32c implements Checksum {
  #value = 0xffffffff;

  update(bytes: Uint8Array): void {
    const [t0, t1, t2, t3, t4, t5, t6, t7] = (crc32cTables ??= makeCrc32cTables()) as [
      Uint32Array,
      Uint32Array,
      Uint32Array,
      Uint32Array,
      Uint32Array,
      Uint32Array,
      Uint32Array,
      Uint32Array,
    ];
    const at = (table: Uint32Array, index: number): number => table[index] as number;
    let value = this.#value;
    let from = 0;
    const byte = (offset: number): number => bytes[from + offset] as number;
    for (; from + 8 <= bytes.length; from += 8) {
      const low = value ^ (byte(0) | (byte(1) << 8) | (byte(2) << 16) | (byte(3) << 24));
      value =
        at(t7, low & 0xff) ^
        at(t6, (low >>> 8) & 0xff) ^
        at(t5, (low >>> 16) & 0xff) ^
        at(t4, low >>> 24) ^
        at(t3, byte(4)) ^
        at(t2, byte(5)) ^
        at(t1, byte(6)) ^
        at(t0, byte(7));
    }
    for (; from < bytes.length; from += 1) {
      value = at(t0, (value ^ byte(0)) & 0xff) ^ (value >>> 8);
    }
    this.#value = value >>> 0;
  }

  digest(): Buffer {
    return uint32(~this.#value);
  }
}

/** Reflected polynomial of CRC-64/NVME, upper and lower half. */
const NVME_HIGH = 0x9a6c9329;
const NVME_LOW = 0xac4bc9b5;
let nvmeTables: { high: Uint32Array; low: Uint32Array } | undefined;

function makeNvmeTables(): { high: Uint32Array; low: Uint32Array } {
  const high = new Uint32Array(256);
  const low = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte += 1) {
    let h = 0;
    let l = byte;
    for (let bit = 0; bit < 8; bit += 1) {
      const odd = l & 1;
      l = (l >>> 1) | ((h & 1) << 31);
      h >>>= 1;
      if (odd) {
        h ^= NVME_HIGH;
        l ^= NVME_LOW;
      }
    }
    high[byte] = h;
    low[byte] = l;
  }
  return { high, low };
}

class Crc64Nvme implements Checksum {
  #high = 0xffffffff;
  #low = 0xffffffff;

  update(bytes: Uint8Array): void {
    const { high, low } = (nvmeTables ??= makeNvmeTables());
    let h = this.#high;
    let l = this.#low;
    for (let at = 0; at < bytes.length; at += 1) {
      const index = (l ^ (bytes[at] as number)) & 0xff;
      l = ((l >>> 8) | (h << 24)) ^ (low[index] as number);
      h = (h >>> 8) ^ (high[index] as number);
    }
    this.#high = h >>> 0;
    this.#low = l >>> 0;
  }

  digest(): Buffer {
    return Buffer.concat([uint32(~this.#high), uint32(~this.#low)]);
  }
}
