/** tusk status: the parts of a stack and how they are. */
import { messageOf, notFound } from '../../core/errors.js';
import type { Call } from '../grammar/command.js';
import { formatSpan } from '../render/duration.js';
import { formatTable } from '../render/table.js';
import { clusterStatus } from './cluster-status.js';
import { dataDirOf, isAlive, readStack, type StackRecord } from './stack-file.js';

export async function status(call: Call): Promise<void> {
  const { session, flags } = call;
  const dataDir = dataDirOf(flags.text('data-dir'), session.env['HOME']);
  const record = readStack(dataDir);
  if (!record) {
    throw notFound(`no stack runs on ${dataDir}\nStart one with '${session.program} up --detach'.`);
  }
  const supervised = isAlive(record);
  const age = formatSpan(session.clock.wallMs() - record.startedMs);
  const how = supervised ? `${record.state} for ${age}` : 'its supervisor was killed';
  session.out(`Stack in ${dataDir}, ${how}; bytes in ${record.store}\n`);
  session.out(partTable(call, record));
  if (!supervised) {
    session.note(`Run '${session.program} down' to clean up, or 'up' to start it again.`);
  }
  if (record.address !== undefined) await printCluster(call, record.address);
}

function partTable({ session }: Call, record: StackRecord): string {
  const rows = record.parts.map((part) => [
    part.name,
    String(part.pid),
    part.port === undefined ? '-' : String(part.port),
    isAlive(part) ? session.paint('green', 'running') : session.paint('red', 'dead'),
    part.log,
  ]);
  return formatTable(['PART', 'PID', 'PORT', 'STATE', 'LOG'], rows);
}

async function printCluster(call: Call, address: string): Promise<void> {
  const { session } = call;
  try {
    const { parts, workers } = await clusterStatus(call, address);
    for (const part of parts.filter(({ ok }) => !ok)) {
      session.out(`${part.name}: ${session.paint('red', 'not well')}: ${part.reason}\n`);
    }
    const names = new Intl.Collator('en', { numeric: true });
    const name = (one: (typeof workers)[number]): string => one.hello?.workerId ?? '';
    const sorted = [...workers].sort((a, b) => names.compare(name(a), name(b)));
    const rows = sorted.map(({ hello, heartbeat }) => [
      hello?.workerId ?? '',
      hello?.host ?? '',
      `${heartbeat?.busySlots ?? 0} / ${hello?.slots ?? 0}`,
      hello?.gpus.length ? hello.gpus.join(',') : '-',
      hello?.isolation ?? '',
      hello?.engine || 'host',
      hello?.limits || '-',
    ]);
    const head = ['WORKER', 'HOST', 'BUSY', 'GPUS', 'ISOLATION', 'IMAGES', 'LIMITS'];
    session.out(`\n${formatTable(head, rows)}`);
  } catch (error) {
    session.note(`The coordinator at ${address} does not answer: ${messageOf(error)}`);
  }
}
