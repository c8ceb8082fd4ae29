#!/usr/bin/env node
// `npm test`: from a fresh clone to a verdict. Installs what is missing, checks format, lint and
// types, runs the unit tests, then the tests on real servers, and closes with the runner's counts.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build, ensurePackages, ensureServers, root } from './prepare.mjs';

const only = process.argv[2];
const work = mkdtempSync(join(tmpdir(), 'tusk-test-'));
const bin = (name) => join(root, 'node_modules/.bin', name);
const counts = { passed: 0, failed: 0 };
let failed = false;

function step(title, program, args) {
  console.log(`\n== ${title}`);
  const start = performance.now();
  const { status } = spawnSync(program, args, { cwd: root, stdio: 'inherit' });
  console.log(
    `== ${title}: ${status === 0 ? 'ok' : 'FAILED'} (${Math.round((performance.now() - start) / 1000)} s)`,
  );
  if (status !== 0) failed = true;
}

function suite(title, config) {
  const file = join(work, `${title}.json`);
  step(`${title} tests`, bin('vitest'), [
    'run',
    '-c',
    config,
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${file}`,
  ]);
  try {
    const report = JSON.parse(readFileSync(file, 'utf8'));
    counts.passed += report.numPassedTests;
    counts.failed +=
      report.numFailedTests +
      (report.numFailedTestSuites > 0 && report.numFailedTests === 0 ? 1 : 0);
    if (report.numTotalTests === 0) failed = true;
  } catch {
    counts.failed += 1;
    failed = true;
  }
}

try {
  ensurePackages();
  if (only !== 'unit') ensureServers({ forTests: true });
  build();
  if (only === undefined || only === 'verify') {
    step('format', bin('prettier'), ['--check', '--log-level=warn', '.']);
    step('lint', bin('eslint'), ['.']);
    step('types', bin('tsc'), ['--noEmit']);
  }
  if (only === undefined || only === 'verify' || only === 'unit') suite('unit', 'vitest.config.ts');
  if (only === undefined || only === 'integration')
    suite('integration', 'vitest.integration.config.ts');
  if (only === 'examples') suite('examples', 'vitest.examples.config.ts');
  if (only === 'faults') suite('faults', 'vitest.faults.config.ts');
} catch (error) {
  console.error(String(error.message ?? error));
  failed = true;
} finally {
  rmSync(work, { recursive: true, force: true });
}
if (failed && counts.failed === 0) counts.failed = 1;
console.log(`\n${counts.passed} passed, ${counts.failed} failed`);
process.exitCode = failed ? 1 : 0;
