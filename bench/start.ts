/** How long a person waits for the prompt to come back. */
import type { Row } from './lib/report.js';
import { run, TUSK } from './lib/run.js';
import { openStack } from './lib/stack.js';

async function median(work: () => Promise<{ seconds: number }>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 15; i += 1) times.push((await work()).seconds);
  return times.sort((a, b) => a - b)[7] as number;
}

export async function cliStart(): Promise<Row[]> {
  await using stack = await openStack();
  await stack.tusk(['create', 'repo', 'one']);
  await stack.tusk(['list', 'repo']);
  const version = await median(() => run(TUSK, ['version', '--client-only']));
  const list = await median(() => stack.tusk(['list', 'repo']));
  const row = (command: string, seconds: number, limit: number): Row => ({
    what: `\`${command}\` from a cold process`,
    ours: command,
    oursValue: `${(seconds * 1000).toFixed(0)} ms`,
    rival: '',
    rivalValue: '',
    ratio: `${seconds.toFixed(3)} s`,
    limit: `≤ ${limit} s`,
    ok: seconds <= limit,
  });
  return [row('tusk version --client-only', version, 0.12), row('tusk list repo', list, 0.2)];
}
