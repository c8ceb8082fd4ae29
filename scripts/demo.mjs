// `npm run demo`: the main job from nothing to its result, on a stack of its own that is stopped
// again. Installs what is missing, then types the commands a person would type and shows their real
// output. Exits with 1 when a result is not what it must be.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensurePackages, ensureServers, root } from './prepare.mjs';

const SLOTS = 20;
const PIECE_LINES = 50;
const tusk = join(root, 'cli/bin/tusk');
const example = join(root, 'examples/main-job');
const work = mkdtempSync(join(tmpdir(), 'tusk-demo-'));
const stack = join(work, 'stack');
const colour = process.stdout.isTTY && !process.env.NO_COLOR;
const bold = (text) => (colour ? `\u001b[1m${text}\u001b[0m` : text);
// The demo runs anywhere: no registry is asked for the images that its specs name.
const env = {
  ...process.env,
  TUSK_CONTAINER_ENGINE: 'none',
  PACH_CONFIG: join(work, 'config.json'),
};
delete env.PACHD_ADDRESS;
const started = Date.now();

function say(text) {
  console.log(`\n${bold(`# ${text}`)}`);
}

/** Runs a command line in a shell, echoed as typed, with its real output. */
function type(line) {
  console.log(`\n${bold(`$ ${line}`)}`);
  const program = line.replace(/(^|[|;&] *)tusk /g, `$1"${tusk}" `);
  const result = spawnSync('sh', ['-c', program], {
    cwd: work,
    env,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (result.status !== 0) throw new Error(`that command failed (exit code ${result.status})`);
}

/** Output of a tusk command that is not shown. */
function ask(...args) {
  const result = spawnSync(tusk, args, { cwd: work, env, encoding: 'utf8' });
  if (result.status !== 0) throw new Error(result.stderr.trim());
  return result.stdout;
}

/** The newest job of each pipeline, from `list job --raw` (one JSON object after another). */
function newestJobs() {
  const text = ask('list', 'job', '--raw');
  const jobs = text === '' ? [] : JSON.parse(`[${text.trim().replaceAll('\n}\n{', '\n},{')}]`);
  const newest = new Map();
  for (const job of jobs) if (!newest.has(job.pipeline.name)) newest.set(job.pipeline.name, job);
  return newest;
}

function progressOf(job) {
  const done = Number(job.data_processed ?? 0);
  const skipped = Number(job.data_skipped ?? 0);
  const total = Number(job.data_total ?? 0);
  const state = (job.state ?? 'JOB_STARTING').slice(4).toLowerCase();
  const cells = total === 0 ? 0 : Math.round(((done + skipped) / total) * 30);
  const bar = '█'.repeat(cells) + '░'.repeat(30 - cells);
  return `${job.pipeline.name.padEnd(8)} ${bar} ${done} processed, ${skipped} skipped of ${total}, ${state}`;
}

/** Shows how the jobs get on until everything downstream of the branch is finished. */
async function follow(branch) {
  console.log(`\n${bold(`$ tusk flush commit ${branch}`)}`);
  const before = new Map([...newestJobs()].map(([name, job]) => [name, job.job.id]));
  const flush = spawn(tusk, ['flush', 'commit', branch], {
    cwd: work,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  flush.stdout.on('data', (bytes) => (output += bytes));
  let ended;
  const end = new Promise((resolve) => flush.on('close', (code) => resolve((ended = code))));
  const shown = new Map();
  while (ended === undefined) {
    showChanges(shown, before);
    await Promise.race([end, new Promise((resolve) => setTimeout(resolve, 250))]);
  }
  showChanges(shown, new Map());
  process.stdout.write(output);
  if (ended !== 0) throw new Error('waiting for the jobs failed');
}

function showChanges(shown, before) {
  for (const [name, job] of newestJobs()) {
    const finished = ['JOB_SUCCESS', 'JOB_FAILURE', 'JOB_KILLED'].includes(job.state);
    if (finished && before.get(name) === job.job.id && !shown.has(name)) continue;
    const text = progressOf(job);
    if (shown.get(name) !== text) console.log(`  ${text}`);
    shown.set(name, text);
  }
}

function check(pipeline, expected) {
  const job = newestJobs().get(pipeline);
  const got = {
    state: job?.state,
    processed: Number(job?.data_processed ?? 0),
    skipped: Number(job?.data_skipped ?? 0),
  };
  for (const [key, value] of Object.entries(expected)) {
    if (got[key] !== value) {
      throw new Error(
        `${pipeline}: expected ${key} ${value}, got ${got[key]} (${job?.reason ?? 'no job'})`,
      );
    }
  }
}

async function main() {
  ensurePackages();
  ensureServers();

  say(`Start everything: etcd, nats-server, a coordinator, a worker with ${SLOTS} slots`);
  type(`tusk up --detach --data-dir ${stack} --port 0 --workers ${SLOTS}`);
  env.PACHD_ADDRESS = JSON.parse(readFileSync(join(stack, 'stack.json'), 'utf8')).address;
  console.log(`\n${bold(`$ export PACHD_ADDRESS=${env.PACHD_ADDRESS}`)}`);

  say(
    'The input: four years of weather in two cities, one line a day (see its README for the source)',
  );
  type(`cp ${example}/weather.csv ${example}/monthly.json ${example}/climate.json .`);
  type('head -n 3 weather.csv; wc -l weather.csv');
  say('The last month comes later');
  type(
    "grep -v ',2015-12-' weather.csv > until-november.csv; grep ',2015-12-' weather.csv > december.csv",
  );

  say(`Put the table into a repo, ${PIECE_LINES} lines to a piece`);
  type('tusk create repo weather');
  type(
    `tusk put file weather@master:days -f until-november.csv --split line --target-file-datums ${PIECE_LINES}`,
  );
  type(
    "tusk list file weather@master:days | head -n 5; echo …; tusk glob file 'weather@master:/days/*' | grep -c file",
  );

  say('Two pipelines: one sums up each piece (at most 20 at once), one puts the sums together');
  type('tusk create pipeline -f monthly.json');
  type('tusk create pipeline -f climate.json');
  type('tusk list pipeline');
  await follow('weather@master');
  check('monthly', { state: 'JOB_SUCCESS', processed: 58, skipped: 0 });
  check('climate', { state: 'JOB_SUCCESS', processed: 1 });
  type('tusk list job');

  say('The result, and where it comes from');
  type('tusk list file climate@master');
  type('tusk get file climate@master:/hottest.csv');
  type('tusk inspect commit climate@master');
  type('tusk logs -p climate');

  say('December arrives: only the new pieces run, the others are skipped');
  type(
    `tusk put file weather@master:days -f december.csv --split line --target-file-datums ${PIECE_LINES}`,
  );
  await follow('weather@master');
  type('tusk list job');
  check('monthly', { state: 'JOB_SUCCESS', processed: 2, skipped: 58 });
  check('climate', { state: 'JOB_SUCCESS' });
  type('tusk get file climate@master:/by-month.csv | grep -e city -e 2015-12');
  type('tusk list commit climate@master');
}

function stopStack() {
  if (!existsSync(join(stack, 'stack.json'))) return;
  console.log(`\n${bold(`$ tusk down --data-dir ${stack}`)}`);
  spawnSync(tusk, ['down', '--data-dir', stack], { env, stdio: 'inherit' });
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    stopStack();
    rmSync(work, { recursive: true, force: true });
    process.exit(130);
  });
}

try {
  await main();
  say('Stop everything');
  stopStack();
  rmSync(work, { recursive: true, force: true });
  const seconds = ((Date.now() - started) / 1000).toFixed(0);
  console.log(
    `\nThe demo is done (${seconds} s). Next: '${join('cli/bin/tusk')} up --detach' for a stack that stays,` +
      `\n'${join('cli/bin/tusk')} --help' for everything else, examples/main-job to change it.`,
  );
} catch (error) {
  console.error(`\nThe demo stopped: ${error.message}`);
  stopStack();
  console.error(`The logs are kept in ${join(stack, 'logs')}`);
  process.exitCode = 1;
}
