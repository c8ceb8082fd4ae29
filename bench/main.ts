/** Runs the benchmarks named on the command line, or all; prints ratios; exits 1 on a miss. */
import { dirBytes, s3Bytes } from './bytes.js';
import { collectMillion, interleavings } from './collect.js';
import { after, datums } from './datums.js';
import { manyFiles, smallCommit } from './files.js';
import { printRows, writeRows, type Row } from './lib/report.js';
import { mergeMillion } from './merge.js';
import { overlap } from './overlap.js';
import { pipelines } from './pipelines.js';
import { quickCommits } from './quick-commits.js';
import { scale } from './scale.js';
import { sharedInput } from './shared-input.js';
import { skew } from './skew.js';
import { cliStart } from './start.js';
import { commits, edit, manyFilesS3, million, splits } from './storage.js';
import { warm } from './warm.js';
import { workers } from './workers.js';
import { workflows } from './workflows.js';

const BENCHES: Readonly<Record<string, () => Promise<Row[]>>> = {
  start: cliStart,
  dir: dirBytes,
  files: manyFiles,
  commit: smallCommit,
  splits,
  edit,
  million,
  commits,
  'gc-orders': interleavings,
  gc: collectMillion,
  datums,
  after: () => after(100_000, 2),
  'after-million': () => after(1_000_000, 5),
  'merge-million': mergeMillion,
  skew,
  overlap,
  'quick-commits': quickCommits,
  workers,
  pipelines,
  workflows,
  scale,
  warm,
  'shared-input': sharedInput,
  s3: s3Bytes,
  's3-files': manyFilesS3,
};

process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
const args = process.argv.slice(2);
const names = args.filter((arg) => !arg.startsWith('--'));
for (const name of names) {
  if (!BENCHES[name]) {
    console.error(`unknown benchmark "${name}"; there are ${Object.keys(BENCHES).join(', ')}`);
    process.exit(2);
  }
}
const rows: Row[] = [];
for (const [name, bench] of Object.entries(BENCHES)) {
  if (names.length > 0 && !names.includes(name)) continue;
  console.log(`\n== ${name}`);
  try {
    const measured = await bench();
    printRows(measured);
    rows.push(...measured);
  } catch (error) {
    console.error(`MISS ${name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
if (args.includes('--write')) writeRows(rows);
if (rows.some((row) => !row.ok)) process.exitCode = 1;
