/** Extract and restore as the rpc layer uses them: to and from streams, or buckets. */
import { invalidInput } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import { NEVER } from '../../core/signals.js';
import { openObjects, type ObjectStore } from '../../storage/index.js';
import type { Wait } from '../../storage/types.js';
import {
  extract,
  type AdminDeps,
  type ArchiveProgress,
  type ExtractOptions,
  type ExtractPart,
} from './extract.js';
import { abortRestore, restore } from './restore.js';
import { checkFree, readVolumes, VolumeWriter } from './volumes.js';

export type { ArchiveProgress, ExtractPart } from './extract.js';

export interface AdminOptions extends AdminDeps {
  readonly log: Log;
  /** Of the cluster's own store: URLs without an endpoint mean its server. */
  readonly storeUrl: string;
  readonly s3?: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

export class Admin {
  readonly #deps: AdminOptions;

  constructor(deps: AdminOptions) {
    this.#deps = deps;
  }

  /** The archive, part by part. Throws CORRUPT_DATA for a damaged object. */
  extract(options: ExtractOptions, wait: Wait): AsyncIterable<ExtractPart> {
    return extract(this.#deps, options, wait);
  }

  /** Stores the archive below an s3 URL; whatever of it was stored goes again on failure. */
  async *extractTo(
    url: string,
    options: ExtractOptions,
    wait: Wait,
  ): AsyncGenerator<ArchiveProgress> {
    await using store = await this.#bucket(url);
    await checkFree(store, wait);
    const volumes = new VolumeWriter(store, wait);
    let whole = false;
    try {
      for await (const { parts, progress } of extract(this.#deps, options, wait)) {
        for (const part of parts) await volumes.write(part);
        yield progress;
      }
      await volumes.end();
      whole = true;
    } finally {
      if (!whole) {
        await volumes.remove({ signal: NEVER }).catch((error: unknown) => {
          this.#deps.log.warn(
            { err: error, url },
            'a part of a broken-off archive was left behind',
          );
        });
      }
    }
  }

  /** Fills the empty cluster from an archive's bytes. */
  restore(source: AsyncIterable<Buffer>, wait: Wait): AsyncIterable<ArchiveProgress> {
    return restore(this.#deps, source, wait);
  }

  /** As `restore`, from an archive that `extractTo` stored. */
  async *restoreFrom(url: string, wait: Wait): AsyncGenerator<ArchiveProgress> {
    await using store = await this.#bucket(url);
    yield* restore(this.#deps, readVolumes(store, wait), wait);
  }

  /** Gives up a restore that broke off. */
  abortRestore(wait: Wait): Promise<void> {
    return abortRestore(this.#deps, wait);
  }

  async #bucket(url: string): Promise<ObjectStore> {
    if (!url.startsWith('s3://')) {
      throw invalidInput(`url "${url}": expected s3://bucket/prefix, with ?endpoint=… if not AWS`);
    }
    return openObjects({ ...this.#deps, url: withEndpoint(url, this.#deps.storeUrl) });
  }
}

/** Names the server of the cluster's own bucket when the URL names none. */
function withEndpoint(url: string, storeUrl: string): string {
  if (!URL.canParse(url) || !storeUrl.startsWith('s3://')) return url;
  const wanted = new URL(url);
  if (wanted.searchParams.has('endpoint')) return url;
  for (const [name, value] of new URL(storeUrl).searchParams) {
    if (!wanted.searchParams.has(name)) wanted.searchParams.set(name, value);
  }
  return wanted.toString();
}
