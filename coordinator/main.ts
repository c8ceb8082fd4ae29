/** The coordinator program: `node dist/coordinator.mjs --config FILE`. */
import { parseArgs } from 'node:util';
import { systemClock } from '../core/clock.js';
import { codeOf, messageOf } from '../core/errors.js';
import { growHeapFreely } from '../core/heap.js';
import { createLog } from '../core/log.js';
import { RecentLines } from '../core/recent-lines.js';
import { loadConfig, loadSecrets } from './config.js';
import { openCoordinator } from './coordinator.js';

/** Stops a shutdown that hangs; the normal path never needs it. */
const BACKSTOP_MS = 15_000;

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { config: { type: 'string' } } });
  if (values.config === undefined) throw new Error('usage: coordinator --config FILE');
  growHeapFreely();
  // The S3 SDK tells every user that it will want a newer Node one day; that is ours to know.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  const config = loadConfig(values.config);
  const recent = new RecentLines();
  const log = createLog({
    part: 'coordinator',
    recent,
    level: config.logLevel,
    ...(config.logFile === undefined ? {} : { file: config.logFile }),
    pretty: config.logPretty,
  });
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)));
  }
  process.on('unhandledRejection', (error) => {
    log.fatal({ err: error }, 'unhandled rejection: this is a bug; restarting');
    log.flush();
    process.exit(70);
  });
  try {
    const deps = { config, secrets: loadSecrets(process.env), log, recent, clock: systemClock };
    await using coordinator = await openCoordinator(deps, { signal: stop.signal });
    log.info({ port: coordinator.port }, 'coordinator serves');
    await new Promise<void>((resolve) => {
      if (stop.signal.aborted) resolve();
      else stop.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    log.info('coordinator stops');
    setTimeout(() => process.exit(1), BACKSTOP_MS).unref();
  } catch (error) {
    if (!stop.signal.aborted) {
      log.fatal({ err: error, errorCode: codeOf(error) }, 'coordinator could not start');
      log.flush();
      throw error;
    }
  }
}

main().catch((error: unknown) => {
  console.error(messageOf(error));
  process.exitCode = 1;
  setTimeout(() => process.exit(1), 1_000).unref();
});
