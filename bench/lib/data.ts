/** Input data that is the same in every run: seeded, incompressible, fast to make. */
import { createCipheriv, createHash } from 'node:crypto';
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** An endless stream of pseudo-random bytes from a seed. */
function source(seed: string): (bytes: number) => Buffer {
  const key = createHash('sha256').update(seed).digest();
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  return (bytes) => cipher.update(Buffer.alloc(bytes));
}

/** Writes one file of `bytes` pseudo-random bytes. */
export function writeRandomFile(file: string, bytes: number, seed = 'tusk'): void {
  const next = source(seed);
  const fd = openSync(file, 'w');
  for (let left = bytes; left > 0; left -= 8 << 20) writeSync(fd, next(Math.min(left, 8 << 20)));
  closeSync(fd);
}

/** Writes `count` files of `bytes` each below `dir`, a thousand to a directory. */
export function writeManyFiles(dir: string, count: number, bytes: number): void {
  const next = source('many');
  for (let i = 0; i < count; i += 1) {
    const sub = join(dir, `d${String(Math.floor(i / 1000)).padStart(4, '0')}`);
    if (i % 1000 === 0) mkdirSync(sub, { recursive: true });
    writeFileSync(join(sub, `f${String(i).padStart(7, '0')}`), next(bytes));
  }
}
