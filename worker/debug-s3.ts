/**
 * S3 for a datum that a person runs on their own machine: what its inputs with `s3` hold was
 * downloaded to `dir/s3/<input>`, and is served as a worker serves it. What is put into the bucket
 * `out` ends up in `dir/out`.
 */
import { createReadStream, createWriteStream, existsSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { systemClock } from '../core/clock.js';
import { silentLog } from '../core/log.js';
import { makeDir } from '../core/make-dir.js';
import { ResourceStack } from '../core/resource-stack.js';
import type { JobSpec, WorkDatum } from '../queue/messages.js';
import { encodeNode, openStorage, RunWriter, type Storage } from '../storage/index.js';
import type { DirNode, Wait } from '../storage/types.js';
import { S3Endpoint } from './s3/endpoint.js';
import { S3Session } from './s3/session.js';

export interface DebugS3 extends AsyncDisposable {
  /** Variables of the datum. */
  readonly env: Readonly<Record<string, string>>;
  /** Ends the server and writes what lies in the bucket `out` to `dir/out`. */
  finish(): Promise<void>;
}

/** Undefined when the datum has nothing to do with S3. */
export async function openDebugS3(
  { dir, spec, work }: { readonly dir: string; readonly spec: JobSpec; readonly work: WorkDatum },
  wait: Wait,
): Promise<DebugS3 | undefined> {
  const s3Out = spec.s3Out === true;
  if (!s3Out && !work.inputs.some(({ s3 }) => s3)) return undefined;
  const own = new ResourceStack();
  try {
    const deps = { clock: systemClock, log: silentLog };
    const objects = join(dir, 's3-store');
    makeDir(objects);
    own.defer(() => rmSync(objects, { recursive: true, force: true }));
    const url = `dir://${encodeURIComponent(objects).replaceAll('%2F', '/')}`;
    const storage = own.use(await openStorage({ url, epoch: 0, ...deps }));
    const inputs: WorkDatum['inputs'][number][] = [];
    for (const input of work.inputs) {
      if (!input.s3) continue;
      const from = join(dir, 's3', input.name);
      const root = await stored(storage, from, wait);
      inputs.push({ ...input, node: encodeNode(root).toString('base64') });
    }
    rmSync(join(dir, 's3'), { recursive: true, force: true });
    const writer = storage.newWriter(wait);
    const session = new S3Session(
      { clock: deps.clock, storage, writer: () => writer },
      { ...work, inputs },
      s3Out,
    );
    const endpoint = own.use(await S3Endpoint.open(deps));
    endpoint.serve(session);
    return {
      env: { S3_ENDPOINT: endpoint.url },
      async finish() {
        await session.end();
        await writer.flush(wait);
        await writeOut(storage, session, join(dir, 'out'), wait);
      },
      [Symbol.asyncDispose]: () => own[Symbol.asyncDispose](),
    };
  } catch (error) {
    await own[Symbol.asyncDispose]();
    throw error;
  }
}

/** A directory of this machine as a tree in the store. */
async function stored(storage: Storage, dir: string, wait: Wait): Promise<DirNode> {
  const writer = storage.newWriter(wait);
  const run = new RunWriter(storage, { ...wait, flush: () => writer.flush(wait) });
  const found = readdirSync(dir, { recursive: true, withFileTypes: true });
  for (const entry of found) {
    const full = join(entry.parentPath, entry.name);
    const path = full.slice(dir.length);
    if (entry.isDirectory()) {
      await run.add({ op: 'mkdir', path, seq: run.count });
      continue;
    }
    const sink = writer.beginFile();
    for await (const bytes of createReadStream(full)) await sink.write(bytes as Buffer);
    await run.add({ op: 'set', path, seq: run.count, content: await sink.end() });
  }
  await writer.flush(wait);
  const options = { ...wait, ordinal: 1, mode: 'put' } as const;
  return storage.trees.apply(undefined, [await run.finish()], options);
}

async function writeOut(
  storage: Storage,
  session: S3Session,
  out: string,
  wait: Wait,
): Promise<void> {
  for (const op of session.collected(0).ops) {
    const target = join(out, op.path);
    if (op.op === 'mkdir') makeDir(target);
    if (op.op !== 'set') continue;
    makeDir(dirname(target));
    if (existsSync(target)) rmSync(target, { recursive: true });
    await pipeline(storage.read(op.content, wait), createWriteStream(target));
  }
}
