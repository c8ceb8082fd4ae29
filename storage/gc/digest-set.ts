/**
 * A set of digests in flat memory: 16 bytes of each are kept, which no two objects share by chance.
 * It grows to a limit; beyond that it forgets, so `add` may call a digest new that it has seen.
 */
const WORDS = 4;

export class DigestSet {
  #table: Uint32Array;
  #slots: number;
  #count = 0;

  constructor(
    /** Slots at most; a power of two. 16 bytes each. */
    readonly slotsMax: number = 1 << 23,
    slots: number = 1 << 12,
  ) {
    this.#slots = Math.min(slots, slotsMax);
    this.#table = new Uint32Array(this.#slots * WORDS);
  }

  /** True when the digest (of at least 16 bytes) was not in the set. `salt` tells namesakes apart. */
  add(digest: Buffer, salt = 0): boolean {
    if (this.#count * 5 > this.#slots * 3 && this.#slots < this.slotsMax) this.#grow();
    return this.#insert(wordsOf(digest, salt));
  }

  has(digest: Buffer, salt = 0): boolean {
    const table = this.#table;
    const mask = this.#slots - 1;
    const [a, b, c, d] = wordsOf(digest, salt);
    for (let slot = (b ^ d) & mask; ; slot = (slot + 1) & mask) {
      const at = slot * WORDS;
      if (table[at] === 0) return false;
      const [found] = [table[at] === a && table[at + 1] === b && table[at + 2] === c];
      if (found && table[at + 3] === d) return true;
    }
  }

  #insert(words: readonly [number, number, number, number]): boolean {
    const table = this.#table;
    const mask = this.#slots - 1;
    const home = (words[1] ^ words[3]) & mask;
    const full = this.#count * 5 > this.#slots * 3;
    for (let slot = home; ; slot = (slot + 1) & mask) {
      const at = slot * WORDS;
      if (table[at] === 0) {
        if (!full) {
          table.set(words, at);
          this.#count += 1;
          return true;
        }
        // Full: the newcomer takes the place of the one at its home.
        table.set(words, (home * WORDS) as number);
        return true;
      }
      if (
        table[at] === words[0] &&
        table[at + 1] === words[1] &&
        table[at + 2] === words[2] &&
        table[at + 3] === words[3]
      ) {
        return false;
      }
    }
  }

  #grow(): void {
    const old = this.#table;
    this.#slots *= 2;
    this.#table = new Uint32Array(this.#slots * WORDS);
    this.#count = 0;
    for (let at = 0; at < old.length; at += WORDS) {
      if (old[at] === 0) continue;
      this.#insert([
        old[at] as number,
        old[at + 1] as number,
        old[at + 2] as number,
        old[at + 3] as number,
      ]);
    }
  }
}

function wordsOf(digest: Buffer, salt: number): readonly [number, number, number, number] {
  return [
    // Zero marks a free slot, so the first word is never zero.
    digest.readUInt32LE(0) || 1,
    digest.readUInt32LE(4),
    digest.readUInt32LE(8),
    (digest.readUInt32LE(12) ^ salt) >>> 0,
  ];
}
