#!/usr/bin/env node
// `npm test`: from a fresh clone to a verdict. Installs what is missing, checks format, lint and
// types, runs the unit tests, then the tests on real servers, and closes with the runner's counts.
import { spawn, spawnSync } from 'node:child_process';
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

/** Several at once, each of which keeps one core busy; what they say comes when they end. */
async function stepsAtOnce(steps) {
  await Promise.all(
    steps.map(async ([title, program, args]) => {
      const start = performance.now();
      const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
      let said = '';
      child.stdout.on('data', (bytes) => (said += bytes));
      child.stderr.on('data', (bytes) => (said += bytes));
      const status = await new Promise((resolve) => {
        child.once('error', (error) => resolve(String(error)));
        child.once('close', resolve);
      });
      const seconds = Math.round((performance.now() - start) / 1000);
      const result = status === 0 ? 'ok' : `FAILED (${status})`;
      console.log(`${said}== ${title}: ${result} (${seconds} s)`);
      if (status !== 0) failed = true;
    }),
  );
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
    console.log('\n== lint, types, format');
    await stepsAtOnce([
      ['lint', bin('eslint'), ['.']],
      ['types', bin('tsc'), ['--noEmit']],
      ['format', bin('prettier'), ['--check', '--log-level=warn', '.']],
    ]);
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
