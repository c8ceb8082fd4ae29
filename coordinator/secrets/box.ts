/**
 * Seals secrets with a key that only lies on the coordinator's machine: AES-256-GCM, a fresh nonce
 * each time, the secret's name bound in, so that a stolen etcd or a swapped value gives nothing.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { corruptData, invalidInput, messageOf, stateConflict } from '../../core/errors.js';
import { makeDir } from '../../core/make-dir.js';
import { sha256Hex } from '../../core/sha256.js';

export interface Sealed {
  /** Tells keys apart; says nothing about them. */
  readonly keyId: string;
  /** base64 of nonce (12 bytes), tag (16 bytes), ciphertext. */
  readonly sealed: string;
}

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export class Box {
  readonly #key: Buffer;
  readonly keyId: string;

  constructor(
    key: Buffer,
    /** Where the key lies, for people. */
    readonly place: string,
  ) {
    this.#key = key;
    this.keyId = sha256Hex(Buffer.concat([Buffer.from('tusk key id\n'), key])).slice(0, 16);
  }

  seal(name: string, plain: Buffer): Sealed {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce);
    cipher.setAAD(Buffer.from(name));
    const text = Buffer.concat([cipher.update(plain), cipher.final()]);
    const sealed = Buffer.concat([nonce, cipher.getAuthTag(), text]).toString('base64');
    return { keyId: this.keyId, sealed };
  }

  /** Throws STATE_CONFLICT for another key, CORRUPT_DATA when the bytes were changed. */
  open(name: string, { keyId, sealed }: Sealed): Buffer {
    if (keyId !== this.keyId) {
      throw stateConflict(
        `secret "${name}" was stored with another key than the one in ${this.place}: give every ` +
          'coordinator the same key file (setting secretsKeyFile), or create the secret again',
      );
    }
    const bytes = Buffer.from(sealed, 'base64');
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, NONCE_BYTES));
      decipher.setAAD(Buffer.from(name));
      decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
      const text = bytes.subarray(NONCE_BYTES + TAG_BYTES);
      return Buffer.concat([decipher.update(text), decipher.final()]);
    } catch (error) {
      throw corruptData(`secret "${name}" is damaged: create it again`, { cause: error });
    }
  }
}

/** Reads the key file; makes it (readable by its owner alone) when it is not there. */
export function openBox(file: string): Box {
  const text = read(file) ?? make(file);
  const key = Buffer.from(text.trim(), 'hex');
  if (key.length !== KEY_BYTES) {
    throw invalidInput(`${file} does not hold a key: expected ${KEY_BYTES * 2} hexadecimal digits`);
  }
  return new Box(key, file);
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw invalidInput(`cannot read the key of secrets ${file}: ${messageOf(error)}`);
  }
}

function make(file: string): string {
  makeDir(dirname(file));
  const partial = `${file}.${process.pid}`;
  writeFileSync(partial, `${randomBytes(KEY_BYTES).toString('hex')}\n`, {
    mode: 0o600,
    flush: true,
  });
  try {
    // Never over a key that another process has just made.
    linkSync(partial, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(partial, { force: true });
  }
  return readFileSync(file, 'utf8');
}
