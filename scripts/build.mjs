#!/usr/bin/env node
// Bundles every entry point into dist/. The CLI carries all its packages (it must start fast); the
// servers and threads keep theirs in node_modules. Runs in about a second; `npm install` calls it.
import { build } from 'esbuild';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');

const servers = {
  coordinator: 'coordinator/main.ts',
  worker: 'worker/main.ts',
  spawner: 'worker/spawner-main.ts',
  'debug-datum': 'worker/debug-main.ts',
  'heartbeat-thread': 'worker/heartbeat-thread.ts',
  'tree-thread': 'storage/tree-thread.ts',
  'plan-thread': 'coordinator/scheduling/plan-thread.ts',
  'gc-thread': 'coordinator/gc/gc-thread.ts',
  'lease-thread': 'coordinator/meta/lease-thread.ts',
};
const present = Object.fromEntries(
  Object.entries(servers).filter(([, file]) => existsSync(join(root, file))),
);

mkdirSync(dist, { recursive: true });
const common = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  sourcemap: 'linked',
  logLevel: 'warning',
};
await build({
  ...common,
  entryPoints: present,
  outdir: dist,
  format: 'esm',
  outExtension: { '.js': '.mjs' },
  packages: 'external',
});
if (existsSync(join(root, 'cli/main.ts'))) {
  await build({
    ...common,
    entryPoints: { cli: 'cli/main.ts' },
    outdir: dist,
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    minifySyntax: true,
    minifyWhitespace: true,
    sourcemap: false,
    define: { 'import.meta.url': '__tuskUrl' },
    banner: { js: "const __tuskUrl=require('node:url').pathToFileURL(__filename).href;" },
  });
  // V8 code caches of older bundles are useless.
  rmSync(join(dist, 'cache'), { recursive: true, force: true });
}
