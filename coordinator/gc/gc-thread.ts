/** Entry point of the thread that marks and sweeps; coordinator/gc/mark-and-sweep.ts starts it. */
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../core/clock.js';
import { invariant } from '../../core/errors.js';
import { silentLog } from '../../core/log.js';
import { packError } from '../../core/packed-error.js';
import { collectObjects } from '../../storage/gc/index.js';
import { openStorage } from '../../storage/index.js';
import { textOfMapValue } from './map-values.js';
import type { ThreadMessage, ThreadWork } from './mark-and-sweep.js';
import { checkObjects } from './check.js';
import { readRecords, readRoots } from './root-file.js';

const port = parentPort;
invariant(port, 'this program runs as a thread only');
const work = workerData as ThreadWork;
const stop = new AbortController();
port.once('message', () => stop.abort());

const tell = (message: ThreadMessage): void => port.postMessage(message);

try {
  await using storage = await openStorage({
    ...work.setup,
    epoch: 0,
    log: silentLog,
    clock: systemClock,
  });
  const { signal } = stop;
  const { directory } = work;
  if ('rootFile' in work) {
    const { rootFile, floor, dryRun } = work;
    const done = await collectObjects(storage, {
      ...{ directory, floor, dryRun, textOfMapValue, signal },
      roots: readRoots(rootFile),
      onProgress: (progress) => tell({ progress }),
    });
    tell({ done });
  } else {
    const { recordFile, data } = work;
    await checkObjects(storage, {
      ...{ directory, data, signal },
      records: () => readRecords(recordFile),
      onFinding: (finding) => tell({ finding }),
    });
    tell({ done: undefined });
  }
} catch (error) {
  tell({ error: packError(error) });
}
port.close();
