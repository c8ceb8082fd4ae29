/**
 * Edits of sorted maps: changes come in ascending order, pages without a change are reused.
 *
 * M1 The result equals a fresh build of the resulting entries, page for page: pages are reused only
 *    where a fresh build would begin them, and the last page of the old map, which ends where the
 *    map ended, only when it is the last again.
 */
import { invariant } from '../core/errors.js';
import { MapBuilder, type BuiltMap } from './map-builder.js';
import { MapCursor } from './map-cursor.js';
import type { Page } from './page.js';
import type { PageSink, PageStore } from './page-store.js';
import type { Wait } from './types.js';

export class MapEditor<V> {
  readonly #builder: MapBuilder<V>;
  readonly #old: MapCursor<V> | undefined;
  #before: string | undefined;

  /** `old` is the root page of the map to change; none: an empty map. */
  constructor(
    store: PageStore<V>,
    sink: PageSink,
    old: Page<V> | undefined,
    readonly wait: Wait,
  ) {
    this.#builder = new MapBuilder(store, sink);
    this.#old = old && old.keys.length > 0 ? new MapCursor(store, old, wait) : undefined;
  }

  /** Sets or (undefined) removes a key, above the one before. Await the answer before going on. */
  apply(key: string, value: V | undefined): Promise<void> | undefined {
    invariant(this.#before === undefined || this.#before < key, 'map edits must ascend', { key });
    this.#before = key;
    if (!this.#old || this.#old.done) return this.#put(key, value);
    const copied = this.#copyBefore(key);
    if (copied) return copied.then(() => this.#replace(key, value));
    return this.#replace(key, value);
  }

  /** Copies the rest and ends the map. */
  async finish(): Promise<BuiltMap> {
    await this.#copyBefore(undefined);
    return this.#builder.finish(this.wait);
  }

  #replace(key: string, value: V | undefined): Promise<void> | undefined {
    const old = this.#old as MapCursor<V>;
    if (!old.done && old.onEntry && old.key === key) old.skip();
    return this.#put(key, value);
  }

  #put(key: string, value: V | undefined): Promise<void> | undefined {
    return value === undefined ? undefined : this.#builder.add(key, value);
  }

  /** Copies old entries below `key` (all when undefined), by whole pages where possible. */
  #copyBefore(key: string | undefined): Promise<void> | undefined {
    const old = this.#old;
    const builder = this.#builder;
    while (old && !old.done) {
      let waiting: Promise<void> | undefined;
      if (old.onEntry) {
        if (key !== undefined && old.key >= key) return undefined;
        waiting = builder.add(old.key, old.value);
        old.skip();
      } else if (this.#reusable(old, key)) {
        builder.addPage(old.level, old.child);
        old.skip();
      } else {
        waiting = old.open();
      }
      if (waiting) return waiting.then(() => this.#copyBefore(key));
    }
    return undefined;
  }

  #reusable(old: MapCursor<V>, key: string | undefined): boolean {
    if (key !== undefined && (old.key >= key || old.last)) return false;
    return this.#builder.closedBelow(old.level);
  }
}
