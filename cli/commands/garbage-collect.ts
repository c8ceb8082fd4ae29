/** garbage-collect: what happens on a terminal while it runs, and what was freed. */
import type { CollectProgress } from '../../proto/generated/tusk.js';
import { CollectRequest, StorageClient } from '../../proto/generated/tusk.js';
import type { Call } from '../grammar/command.js';
import { formatSize } from '../render/size.js';
import { rawFormat } from './output.js';

export async function garbageCollect(call: Call): Promise<void> {
  const { session, flags } = call;
  const format = rawFormat(call);
  const dryRun = flags.bool('dry-run');
  const client = await session.client();
  const storage = client.service(StorageClient);
  const line = new StatusLine(call);
  let last: CollectProgress | undefined;
  try {
    for await (const progress of client.stream(
      storage.collect,
      CollectRequest.fromPartial({ dryRun }),
    )) {
      line.show(statusOf(progress));
      last = progress;
    }
  } finally {
    line.end();
  }
  if (!last?.done) return;
  if (format === 'text') session.out(resultOf(last, dryRun));
  else session.out(await rawText(last, format));
}

async function rawText(last: CollectProgress, format: 'json' | 'yaml'): Promise<string> {
  const { freedObjects, freedBytes, keptObjects, keptBytes, missing, heldBy } = last;
  const value = {
    freed_objects: freedObjects,
    freed_bytes: freedBytes,
    kept_objects: keptObjects,
    kept_bytes: keptBytes,
    missing_objects: last.missingObjects,
    missing,
    held_by: heldBy,
  };
  if (format === 'yaml') return (await import('yaml')).stringify(value);
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function statusOf(progress: CollectProgress): string {
  const { phase, waitingFor, roots, read, live, objects, freedObjects, freedBytes } = progress;
  if (phase === 'wait') {
    const who = waitingFor.length === 0 ? '' : ` on ${waitingFor.join(', ')}`;
    return `Waiting for calls that began before${who} …`;
  }
  if (phase === 'mark') {
    return `Marking: ${roots} records, ${read} pages read, ${live} objects in use …`;
  }
  return `Sweeping: ${objects} objects seen, ${freedObjects} to free (${formatSize(freedBytes)}) …`;
}

function resultOf(result: CollectProgress, dryRun: boolean): string {
  const { freedObjects, freedBytes, keptObjects, keptBytes, missingObjects, missing } = result;
  const verb = dryRun ? 'Would free' : 'Freed';
  const lines = [
    `${verb} ${count(freedObjects, 'object')} (${formatSize(freedBytes)}), kept ${count(keptObjects, 'object')} (${formatSize(keptBytes)}).`,
  ];
  if (result.heldBy.length > 0) {
    lines.push(
      `Garbage that is younger stays for now: it may belong to ${result.heldBy.join(', ')}.`,
    );
  }
  if (missingObjects > 0) {
    lines.push(
      `${count(missingObjects, 'object')} in use can not be found: ${missing.join(', ')}. Run "fsck" to see which files are hurt.`,
    );
  }
  return `${lines.join('\n')}\n`;
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}

/** One line that is written over and over; nothing off a terminal. */
class StatusLine {
  #shown = false;

  constructor(readonly call: Call) {}

  show(text: string): void {
    const { stderr } = this.call.session;
    if (!stderr.isTTY) return;
    const width = Math.max(20, (stderr.columns || 80) - 1);
    stderr.write(`\r\u001b[K${text.slice(0, width)}`);
    this.#shown = true;
  }

  end(): void {
    if (this.#shown) this.call.session.stderr.write('\r\u001b[K');
  }
}
