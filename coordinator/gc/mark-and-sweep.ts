/**
 * Marks and sweeps in a thread of its own, with its own connection to the object store: neither the
 * event loop nor the heap of the coordinator notice. In place where the thread is not built.
 */
import { existsSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { entryPath } from '../../core/entry.js';
import { invariant, unavailable } from '../../core/errors.js';
import { unpackError, type PackedError } from '../../core/packed-error.js';
import { addAbortListener } from '../../core/signals.js';
import {
  collectObjects,
  type Collected,
  type MarkProgress,
  type SweepProgress,
} from '../../storage/gc/index.js';
import type { Storage, StorageOptions } from '../../storage/index.js';
import { textOfMapValue } from './map-values.js';
import { checkObjects, type EtcdRecord } from './check.js';
import { readRecords, readRoots } from './root-file.js';

export type ThreadSetup = Pick<StorageOptions, 'url' | 's3' | 'cacheBytes'>;

export interface Work {
  readonly rootFile: string;
  readonly directory: string;
  readonly floor: number;
  readonly dryRun: boolean;
}

export interface CheckWork {
  /** Keys and values by turns. */
  readonly recordFile: string;
  readonly directory: string;
  readonly data: boolean;
}

export type ThreadWork = (Work | CheckWork) & { readonly setup: ThreadSetup };

export type ThreadMessage =
  | { readonly progress: MarkProgress | SweepProgress }
  | { readonly finding: string }
  | { readonly done: Collected | undefined }
  | { readonly error: PackedError };

interface Options {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: MarkProgress | SweepProgress) => void;
}

interface CheckOptions {
  readonly signal: AbortSignal;
  readonly onFinding: (text: string) => void;
}

interface Deps {
  readonly storage: Storage;
  readonly setup?: ThreadSetup | undefined;
}

/** `setup` absent: in place, over `storage`. */
export async function markAndSweep(deps: Deps, work: Work, options: Options): Promise<Collected> {
  const program = entryPath('gc-thread');
  if (deps.setup && existsSync(program)) {
    const done = await inThread(program, { ...work, setup: deps.setup }, options);
    invariant(done, 'a collection has a result');
    return done;
  }
  const { rootFile, ...rest } = work;
  return collectObjects(deps.storage, {
    ...rest,
    ...options,
    roots: readRoots(rootFile),
    textOfMapValue,
  });
}

/** As `checkObjects`, in the thread where it is built. */
export async function checkInThread(
  deps: Deps,
  work: CheckWork,
  options: CheckOptions,
): Promise<void> {
  const program = entryPath('gc-thread');
  if (deps.setup && existsSync(program)) {
    await inThread(program, { ...work, setup: deps.setup }, options);
    return;
  }
  const { recordFile, ...rest } = work;
  const records = (): AsyncGenerator<EtcdRecord> => readRecords(recordFile);
  await checkObjects(deps.storage, { ...rest, ...options, records });
}

async function inThread(
  program: string,
  work: ThreadWork,
  options: Partial<Options & CheckOptions> & Pick<Options, 'signal'>,
): Promise<Collected | undefined> {
  options.signal.throwIfAborted();
  const worker = new Worker(program, { workerData: work });
  const stop = addAbortListener(options.signal, () => worker.postMessage('stop'));
  try {
    return await new Promise<Collected | undefined>((resolve, reject) => {
      worker.on('message', (message: ThreadMessage) => {
        if ('progress' in message) return options.onProgress?.(message.progress);
        if ('finding' in message) return options.onFinding?.(message.finding);
        if ('done' in message) return resolve(message.done);
        reject(unpackError(message.error));
      });
      worker.on('error', reject);
      worker.on('exit', () =>
        reject(unavailable('the thread that collects garbage stopped; run it again')),
      );
    });
  } catch (error) {
    throw options.signal.aborted ? options.signal.reason : error;
  } finally {
    stop();
    await worker.terminate();
  }
}
