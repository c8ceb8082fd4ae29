/** tusk down: stops a stack and everything it started. */
import type { Call } from '../grammar/command.js';
import { dataDirOf, isAlive, readStack } from './stack-file.js';
import { stopLeftovers, stopProcess } from './stop.js';

/** Longer than all parts together may take. */
const GRACE_MS = 75_000;

export async function down({ session, flags }: Call): Promise<void> {
  const dataDir = dataDirOf(flags.text('data-dir'), session.env['HOME']);
  const record = readStack(dataDir);
  if (!record) {
    session.note(`No stack runs on ${dataDir}.`);
    return;
  }
  if (isAlive(record)) {
    session.out(`Stopping the stack on ${dataDir} …\n`);
    await stopProcess(record, session.clock, GRACE_MS);
  }
  await stopLeftovers(dataDir, session.clock, (line) => session.out(`${line}\n`));
  session.out(`Stopped. The data stays in ${dataDir}.\n`);
}
