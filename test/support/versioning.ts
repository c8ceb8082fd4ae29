/** Versioning on a real etcd and a directory store, a fresh key space for every user. */
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import { NEVER } from '../../core/signals.js';
import { openMeta, type Meta } from '../../coordinator/meta/index.js';
import { openVersioning, type Versioning } from '../../coordinator/versioning/index.js';
import { openStorage, writeRun, type RunRef, type Storage } from '../../storage/index.js';
import type { RunOp } from '../../storage/types.js';
import type { EtcdServer } from './etcd.js';
import { tempDir } from './temp-dir.js';

export interface VersioningStack extends AsyncDisposable {
  readonly meta: Meta;
  readonly storage: Storage;
  readonly versioning: Versioning;
  /** A run that writes whole files: path → text. */
  put(files: Readonly<Record<string, string>>): Promise<RunRef>;
  /** A run of any operations. */
  run(ops: readonly RunOp[]): Promise<RunRef>;
}

let spaces = 0;

/** Opens a stack; `prefix` joins the key space of another one. */
export async function openVersioningStack(
  etcd: EtcdServer,
  o: {
    prefix?: string;
    storeDir?: string;
    /** For s3 urls. */
    s3?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  } = {},
): Promise<VersioningStack & { readonly prefix: string; readonly storeDir: string }> {
  const wait = { signal: NEVER };
  const dir = o.storeDir === undefined ? await tempDir('store') : undefined;
  const storeDir = o.storeDir ?? (dir?.path as string);
  const prefix = o.prefix ?? `space${(spaces += 1)}/`;
  const base = { log: silentLog, clock: systemClock };
  const storage = await openStorage({
    url: `dir://${storeDir}`,
    epoch: 1,
    ...base,
    ...(o.s3 ? { s3: o.s3 } : {}),
  });
  const meta = await openMeta({ endpoints: [etcd.url], prefix, ...base });
  const versioning = await openVersioning({ meta, storage, ...base }, wait);
  const run = async (ops: readonly RunOp[]): Promise<RunRef> => writeRun(storage, ops, wait);
  return {
    meta,
    storage,
    versioning,
    prefix,
    storeDir,
    run,
    put: async (files) => {
      const writer = storage.newWriter(wait);
      const ops: RunOp[] = [];
      for (const [path, text] of Object.entries(files)) {
        const content = await writer.writeBytes(Buffer.from(text));
        ops.push({ op: 'set', path, seq: ops.length, content });
      }
      await writer.flush(wait);
      return run(ops);
    },
    [Symbol.asyncDispose]: async () => {
      await versioning[Symbol.asyncDispose]();
      await meta[Symbol.asyncDispose]();
      await storage[Symbol.asyncDispose]();
      await dir?.[Symbol.asyncDispose]();
    },
  };
}
