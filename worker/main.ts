/**
 * The worker program: `node dist/worker.mjs --join HOST:PORT --slots N --data-dir DIR`.
 * SIGTERM or SIGINT drains it; a second one ends it at once.
 */
import { systemClock } from '../core/clock.js';
import { codeOf, messageOf } from '../core/errors.js';
import { growHeapFreely } from '../core/heap.js';
import { createLog, silentLog, type Log } from '../core/log.js';
import { readConfig } from './config.js';
import { SpawnerClient } from './spawner-client.js';

let log: Log = silentLog;
// Before anything else: a fork copies the page tables, which are smallest now.
const spawner = new SpawnerClient({ log: () => log });

const VERSION = '0.1.0';
/** Stops a shutdown that hangs; the normal path never needs it. */
const BACKSTOP_MS = 10_000;

async function main(): Promise<void> {
  const config = readConfig(process.argv.slice(2), process.env);
  process.umask(0o022);
  growHeapFreely();
  // The S3 SDK tells every user that it will want a newer Node one day; that is ours to know.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  log = createLog({
    part: 'worker',
    level: config.logLevel,
    ...(config.logFile === undefined ? {} : { file: config.logFile }),
    pretty: config.logFile === undefined && process.stderr.isTTY === true,
  });
  const drain = new AbortController();
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (drain.signal.aborted) abort.abort(new Error(`stopped by a second ${signal}`));
      drain.abort(new Error(`stopped by ${signal}`));
    });
  }
  process.on('unhandledRejection', (error) => {
    log.fatal({ err: error }, 'unhandled rejection: this is a bug; the worker ends');
    log.flush();
    process.exit(70);
  });
  // Loaded late, after the fork above.
  const { runWorker } = await import('./worker.js');
  const deps = { config, spawner, clock: systemClock, log, version: VERSION };
  try {
    await runWorker(deps, { signal: drain.signal, abort: abort.signal });
  } catch (error) {
    if (drain.signal.aborted) return;
    const errorCode = codeOf(error);
    // What a person can put right needs no stack.
    const why = errorCode === 'INTERNAL' ? { err: error } : { reason: messageOf(error) };
    log.fatal({ ...why, errorCode }, 'the worker ends');
    log.flush();
    throw error;
  } finally {
    setTimeout(() => process.exit(), BACKSTOP_MS).unref();
    await spawner[Symbol.asyncDispose]();
  }
}

main().catch(async (error: unknown) => {
  console.error(messageOf(error));
  process.exitCode = 1;
  await spawner[Symbol.asyncDispose]();
});
