/**
 * Commits remembered in memory, at most `max`, least recently used out first.
 *
 * It holds only what can not change: a finished commit's record, and the provenance of any commit.
 * Deleting commits is the one exception (M2 in model.ts): whoever learns of it calls `dropRepo`;
 * across processes that is the watch on `gen/`, so a reader elsewhere may see a deleted commit for
 * the length of one watch delay, never longer, and no transaction trusts it without a compare.
 */
import type { CommitName, CommitRecord, ProvenanceEntry } from './model.js';

type Known =
  CommitRecord | { readonly open: true; readonly provenance: CommitRecord['provenance'] };

export class CommitCache {
  readonly #known = new Map<string, Known>();
  /** Per repo, counts drops: a read that began before a drop must not be remembered after it. */
  readonly #drops = new Map<string, number>();

  #clears = 0;

  constructor(readonly max: number = 20_000) {}

  /** The record of a finished commit. */
  finished(c: CommitName): CommitRecord | undefined {
    const known = this.#touch(`${c.repo}/${c.id}`);
    return known && !('open' in known) ? known : undefined;
  }

  provenance(c: CommitName): readonly ProvenanceEntry[] | undefined {
    return this.#touch(`${c.repo}/${c.id}`)?.provenance;
  }

  /** A mark to take before reading and to give to `remember`. */
  mark(repo: string): number {
    return (this.#drops.get(repo) ?? 0) + this.#clears;
  }

  remember(record: CommitRecord, mark: number): void {
    if (this.mark(record.repo) !== mark) return;
    const key = `${record.repo}/${record.id}`;
    const known: Known =
      record.finished === undefined ? { open: true, provenance: record.provenance } : record;
    this.#known.delete(key);
    this.#known.set(key, known);
    if (this.#known.size <= this.max) return;
    const oldest = this.#known.keys().next().value;
    if (oldest !== undefined) this.#known.delete(oldest);
  }

  dropRepo(repo: string): void {
    this.#drops.set(repo, (this.#drops.get(repo) ?? 0) + 1);
    for (const key of this.#known.keys()) {
      if (key.startsWith(`${repo}/`)) this.#known.delete(key);
    }
  }

  /** Forgets everything (the watch on `gen/` had to start over). */
  clear(): void {
    this.#clears += 1;
    this.#known.clear();
  }

  #touch(key: string): Known | undefined {
    const known = this.#known.get(key);
    if (known) {
      this.#known.delete(key);
      this.#known.set(key, known);
    }
    return known;
  }
}
