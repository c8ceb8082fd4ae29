/** One row per claim: what was measured, against what, and whether the limit holds. */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './run.js';

export interface Row {
  readonly what: string;
  /** The command (or the work) measured, and its figure. */
  readonly ours: string;
  readonly oursValue: string;
  /** What it is compared with; empty when the limit is absolute. */
  readonly rival: string;
  readonly rivalValue: string;
  readonly ratio: string;
  readonly limit: string;
  readonly ok: boolean;
}

const START = '<!-- bench:start -->';
const END = '<!-- bench:end -->';

export function printRows(rows: readonly Row[]): void {
  for (const row of rows) {
    console.log(`\n${row.ok ? 'ok  ' : 'MISS'} ${row.what}`);
    console.log(`     ours : ${row.oursValue}  (${row.ours})`);
    if (row.rival) console.log(`     rival: ${row.rivalValue}  (${row.rival})`);
    console.log(`     ratio: ${row.ratio}, limit ${row.limit}`);
  }
}

/** Replaces the rows of docs/benchmarks.md that were measured in this run, keeps the others. */
export function writeRows(rows: readonly Row[]): void {
  const file = join(ROOT, 'docs/benchmarks.md');
  const text = readFileSync(file, 'utf8');
  const head = text.slice(0, text.indexOf(START) + START.length);
  const tail = text.slice(text.indexOf(END));
  const kept = new Map<string, string>();
  for (const line of text.slice(head.length, text.length - tail.length).split('\n')) {
    const name = /^\| ([^|]+) \|/.exec(line)?.[1]?.trim();
    if (name && name !== 'what' && !name.startsWith('---')) kept.set(name, line);
  }
  const cell = (value: string): string => value.replaceAll('|', '\\|');
  for (const row of rows) {
    const cells = [
      row.what,
      row.oursValue,
      row.rivalValue || '–',
      row.ratio,
      row.limit,
      row.ok ? 'yes' : '**no**',
      `\`${row.ours}\`${row.rival ? ` against \`${row.rival}\`` : ''}`,
    ];
    kept.set(row.what, `| ${cells.map(cell).join(' | ')} |`);
  }
  const machine = `Last run on ${cpus().length} × ${cpus()[0]?.model ?? 'cpu'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node ${process.version}.`;
  const table = [
    '',
    machine,
    '',
    '| what | Tusk | rival | ratio | limit | holds | commands |',
    '|---|---|---|---|---|---|---|',
    ...kept.values(),
    '',
  ].join('\n');
  writeFileSync(file, head + table + tail);
}
