/** The same work in Tusk, Snakemake and Luigi: a first run, and a rerun after one change. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Row } from './lib/report.js';
import { run } from './lib/run.js';
import { openStack } from './lib/stack.js';

/** With 300, the first run takes Tusk and Luigi about as long: 2.4 s. */
const FILES = 1_000;
const AT_ONCE = 20;
const RERUNS = 5;
const WORDS_PER_FILE = 2_000;

const SNAKEFILE = `
import os
NAMES = sorted(os.listdir("in"))
rule all:
    input: expand("out/{name}", name=NAMES)
rule count:
    input: "in/{name}"
    output: "out/{name}"
    shell: "sort {input} | uniq -c > {output}"
`;
const LUIGI = `
import os, subprocess, luigi
class Count(luigi.Task):
    name = luigi.Parameter()
    def output(self):
        return luigi.LocalTarget("out/" + self.name)
    def run(self):
        command = "sort in/%s | uniq -c > out/%s" % (self.name, self.name)
        subprocess.run(["sh", "-c", command], check=True)
class All(luigi.WrapperTask):
    def requires(self):
        return [Count(name=name) for name in sorted(os.listdir("in"))]
`;

interface Times {
  readonly first: number;
  readonly again: number;
}

export async function workflows(): Promise<Row[]> {
  const python = await ensurePython();
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-workflows-'));
  try {
    const ours = await inTusk(join(dir, 'tusk'));
    const snakemake = await inSnakemake(join(dir, 'snakemake'), python);
    const luigi = await inLuigi(join(dir, 'luigi'), python);
    return [
      ...rows('Snakemake', `snakemake -j ${AT_ONCE}`, ours, snakemake),
      ...rows('Luigi', `luigi --workers ${AT_ONCE} --local-scheduler`, ours, luigi),
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function rows(rival: string, command: string, ours: Times, theirs: Times): Row[] {
  const row = (what: string, typed: string, a: number, b: number): Row => ({
    what: `${what}, against ${rival}`,
    ours: typed,
    oursValue: `${a.toFixed(2)} s`,
    rival: command,
    rivalValue: `${b.toFixed(2)} s`,
    ratio: `${(a / b).toFixed(2)} × its time`,
    limit: '< 1',
    ok: a < b,
  });
  const put = 'tusk put file … && ';
  return [
    row(
      `words counted in ${FILES.toLocaleString('en')} files, ${AT_ONCE} at once`,
      `${put}tusk create pipeline && tusk flush job`,
      ours.first,
      theirs.first,
    ),
    row(
      `the same again after one of ${FILES.toLocaleString('en')} files changed`,
      `${put}tusk flush commit`,
      ours.again,
      theirs.again,
    ),
  ];
}

/** The rivals, in an environment of their own that is kept for the next time. */
async function ensurePython(): Promise<string> {
  const home = join(homedir(), '.cache/tusk-bench/python');
  if (!existsSync(join(home, 'bin/luigi')) || !existsSync(join(home, 'bin/snakemake'))) {
    console.log('installing snakemake and luigi …');
    await run('python3', ['-m', 'venv', home]);
    await run(join(home, 'bin/pip'), ['install', '--quiet', 'snakemake', 'luigi']);
  }
  return join(home, 'bin');
}

function words(seed: number): string {
  let state = seed + 1;
  const lines: string[] = [];
  for (let i = 0; i < WORDS_PER_FILE; i += 1) {
    state = (state * 48_271) % 2_147_483_647;
    lines.push(`word${state % 500}\n`);
  }
  return lines.join('');
}

/** `in/` with the files, and an empty `out/`. */
function prepare(dir: string): void {
  for (const name of ['in', 'out']) mkdirSync(join(dir, name), { recursive: true });
  for (let i = 0; i < FILES; i += 1) writeFileSync(join(dir, 'in', `f${i}`), words(i));
}

/** Median seconds of reruns, each after one changed file. */
async function reruns(dir: string, work: (name: string) => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < RERUNS; i += 1) {
    writeFileSync(join(dir, `in/f${i}`), words(FILES + i));
    times.push(await timed(() => work(`f${i}`)));
  }
  return times.sort((a, b) => a - b)[RERUNS >> 1] as number;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

async function inTusk(dir: string): Promise<Times> {
  prepare(dir);
  await using stack = await openStack({ workers: AT_ONCE });
  const spec = join(dir, 'spec.json');
  const request = {
    pipeline: { name: 'count' },
    transform: {
      cmd: ['sh'],
      stdin: ['for f in /pfs/in/*; do sort $f | uniq -c > /pfs/out/${f##*/}; done'],
    },
    parallelism_spec: { constant: AT_ONCE },
    input: { pfs: { name: 'in', repo: 'texts', glob: '/*' } },
  };
  writeFileSync(spec, JSON.stringify(request));
  await stack.tusk(['create', 'repo', 'texts']);
  const first = await timed(async () => {
    await stack.tusk(['put', 'file', 'texts@master:/', '-r', '-f', join(dir, 'in')]);
    await stack.tusk(['create', 'pipeline', '-f', spec]);
    await stack.tusk(['flush', 'job', 'texts@master']);
  });
  await check(stack.tusk(['list', 'file', 'count@master']), FILES);
  const again = await reruns(dir, async (name) => {
    await stack.tusk(['put', 'file', '-o', `texts@master:/${name}`, '-f', join(dir, 'in', name)]);
    await stack.tusk(['flush', 'commit', 'texts@master']);
  });
  return { first, again };
}

async function inSnakemake(dir: string, python: string): Promise<Times> {
  prepare(dir);
  writeFileSync(join(dir, 'Snakefile'), SNAKEFILE);
  const make = (): Promise<unknown> =>
    run(join(python, 'snakemake'), ['-j', String(AT_ONCE), '--quiet', 'all'], { cwd: dir });
  const first = await timed(make);
  await check(run('ls', ['out'], { cwd: dir }), FILES);
  return { first, again: await reruns(dir, make) };
}

async function inLuigi(dir: string, python: string): Promise<Times> {
  prepare(dir);
  writeFileSync(join(dir, 'work.py'), LUIGI);
  const args = ['--module', 'work', 'All', '--local-scheduler', '--log-level', 'WARNING'];
  const make = (): Promise<unknown> =>
    run(join(python, 'luigi'), [...args, '--workers', String(AT_ONCE)], {
      cwd: dir,
      env: { PYTHONPATH: dir },
    });
  const first = await timed(make);
  await check(run('ls', ['out'], { cwd: dir }), FILES);
  // Luigi looks only at what is missing: whoever changes a file removes what was made from it.
  const again = await reruns(dir, (name) => {
    rmSync(join(dir, 'out', name));
    return make();
  });
  return { first, again };
}

async function check(listing: Promise<{ readonly stdout: string }>, lines: number): Promise<void> {
  const { stdout } = await listing;
  // A long table repeats its header.
  const got = stdout.split('\n').filter((line) => line !== '' && !line.startsWith('NAME ')).length;
  if (got !== lines)
    throw new Error(`expected ${lines} lines, got ${got}:\n${stdout.slice(0, 500)}`);
}
