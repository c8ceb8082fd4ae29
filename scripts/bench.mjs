#!/usr/bin/env node
// `npm run bench [-- NAME …] [--write]`: runs the benchmarks on real servers and prints ratios with
// both commands. With --write the table also goes into docs/benchmarks.md.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { build } from 'esbuild';
import { build as buildAll, ensurePackages, ensureServers, root } from './prepare.mjs';

ensurePackages();
ensureServers({ forTests: true });
buildAll();
await build({
  absWorkingDir: root,
  entryPoints: { bench: 'bench/main.ts' },
  outdir: 'dist',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  format: 'esm',
  packages: 'external',
  logLevel: 'warning',
});
const { status } = spawnSync(
  process.execPath,
  [join(root, 'dist/bench.mjs'), ...process.argv.slice(2)],
  { cwd: root, stdio: 'inherit' },
);
process.exitCode = status ?? 1;
