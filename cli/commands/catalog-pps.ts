/** Commands over pipelines, jobs, datums and logs. */
import { flag, type Command } from '../grammar/command.js';
import { fromSlashForm } from '../grammar/refs.js';
import { FULL, NO_PAGER, RAW, RAW_OUTPUT } from './common-flags.js';
import { joins } from './joins.js';

const pipelineArg = { args: 'PIPELINE', min: 1, max: 1 } as const;
const jobArg = { args: 'JOB', min: 1, max: 1 } as const;
const specFlags = [
  flag.text(
    'file|f',
    'spec file (JSON or YAML, one or several specs), URL, or - for standard input',
    {
      value: 'PATH',
      initial: '-',
    },
  ),
  flag.bool('build|b', 'not supported: build images yourself', { hidden: true }),
  flag.bool('push-images|p', 'accepted and ignored', { hidden: true }),
  flag.text('registry|r', 'accepted and ignored', { hidden: true }),
  flag.text('username|u', 'accepted and ignored', { hidden: true }),
  flag.text('password', 'accepted and ignored', { hidden: true }),
];
const REPROCESS = flag.bool('reprocess', 'run everything again, also what did not change');
const STATE = flag.repeat('state', 'only those in this state (may be repeated)');
const deletePipelineFlags = [
  flag.bool('force|f', 'also when other pipelines depend on it'),
  flag.bool('all', 'delete every pipeline'),
  flag.bool('keep-repo', 'keep the output repo'),
  flag.bool('split-txn', 'accepted for old scripts', { hidden: true }),
];

const pipelineCommands: readonly Command[] = [
  {
    words: 'create pipeline',
    args: '',
    min: 0,
    max: 0,
    summary: 'make pipelines from a spec file',
    examples: [
      ['from a file', 'create pipeline -f edges.json'],
      ['from standard input', 'create pipeline < edges.json'],
    ],
    flags: specFlags,
    load: joins(async () => (await import('./pipeline-spec.js')).createPipeline),
  },
  {
    words: 'update pipeline',
    args: '',
    min: 0,
    max: 0,
    summary: 'change pipelines to what a spec file says',
    flags: [...specFlags, REPROCESS],
    load: joins(async () => (await import('./pipeline-spec.js')).updatePipeline),
  },
  {
    words: 'inspect pipeline',
    ...pipelineArg,
    summary: 'show one pipeline',
    flags: [...RAW_OUTPUT, FULL],
    load: async () => (await import('./pipeline.js')).inspectPipeline,
  },
  {
    words: 'extract pipeline',
    ...pipelineArg,
    summary: 'print the spec that makes a pipeline again',
    flags: [flag.text('output|o', 'json or yaml', { value: 'FORMAT' })],
    load: async () => (await import('./pipeline-spec.js')).extractPipeline,
  },
  {
    words: 'edit pipeline',
    ...pipelineArg,
    summary: 'change a pipeline in your editor',
    flags: [
      flag.text('editor', 'editor to use (default $EDITOR, else vim)'),
      REPROCESS,
      flag.text('output|o', 'json or yaml', { value: 'FORMAT' }),
    ],
    load: async () => (await import('./edit-pipeline.js')).editPipeline,
  },
  {
    words: 'list pipeline',
    args: '[PIPELINE]',
    min: 0,
    max: 1,
    summary: 'list pipelines',
    flags: [
      flag.bool('spec|s', 'print the specs instead'),
      flag.text('history', 'also older versions: none, a number, or all', { initial: 'none' }),
      ...RAW_OUTPUT,
      FULL,
      STATE,
    ],
    load: async () => (await import('./pipeline.js')).listPipeline,
  },
  {
    words: 'delete pipeline',
    args: '(PIPELINE | --all)',
    min: 0,
    max: 1,
    summary: 'delete a pipeline and its output',
    flags: deletePipelineFlags,
    old: [
      {
        name: 'delete-pipeline',
        flags: [
          flag.bool('delete-jobs', 'accepted and ignored', { hidden: true }),
          flag.bool('delete-repo', 'accepted and ignored', { hidden: true }),
        ],
      },
    ],
    load: async () => (await import('./pipeline.js')).deletePipeline,
  },
  {
    words: 'start pipeline',
    ...pipelineArg,
    summary: 'let a stopped pipeline run again',
    flags: [],
    load: async () => (await import('./pipeline.js')).startPipeline,
  },
  {
    words: 'stop pipeline',
    ...pipelineArg,
    summary: 'stop a pipeline until it is started again',
    flags: [],
    load: async () => (await import('./pipeline.js')).stopPipeline,
  },
  {
    words: 'run pipeline',
    args: 'PIPELINE [REPO@BRANCH[=COMMIT] …]',
    min: 1,
    max: Infinity,
    summary: 'run a pipeline again, on chosen commits',
    flags: [flag.text('job', 'run this job again')],
    load: async () => (await import('./pipeline.js')).runPipeline,
  },
  {
    words: 'run cron',
    ...pipelineArg,
    summary: 'let the clock of a cron pipeline tick now',
    flags: [],
    load: async () => (await import('./pipeline.js')).runCron,
  },
];

const jobCommands: readonly Command[] = [
  {
    words: 'list job',
    args: '',
    min: 0,
    max: 0,
    summary: 'list jobs, newest first',
    flags: [
      flag.text('pipeline|p', 'only jobs of this pipeline'),
      flag.slice('input|i', 'only jobs with this input commit (may be repeated)', {
        value: 'REPO@COMMIT',
      }),
      flag.text('output|o', 'only the job that made this commit', { value: 'REPO@COMMIT' }),
      flag.text('history', 'also jobs of older pipeline versions: none, a number, or all', {
        initial: 'none',
      }),
      RAW,
      FULL,
      NO_PAGER,
      STATE,
    ],
    load: async () => (await import('./job.js')).listJob,
  },
  {
    words: 'inspect job',
    ...jobArg,
    summary: 'show one job',
    flags: [
      flag.bool('block|b', 'wait until the job is done'),
      flag.bool('stats', 'show what its datums took instead: mean, deviation, percentiles'),
      ...RAW_OUTPUT,
      FULL,
    ],
    load: async () => (await import('./job.js')).inspectJob,
  },
  {
    words: 'flush job',
    args: 'REPO@COMMIT …',
    min: 1,
    max: Infinity,
    summary: 'wait for all jobs that commits caused',
    flags: [
      flag.repeat('pipeline|p', 'wait only for this pipeline (may be repeated)'),
      ...RAW_OUTPUT,
      FULL,
    ],
    old: [
      {
        name: 'flush-job',
        args: 'REPO/COMMIT …',
        rewrite: (args) => ({ args: args.map(fromSlashForm) }),
      },
    ],
    load: async () => (await import('./job.js')).flushJob,
  },
  {
    words: 'stop job',
    ...jobArg,
    summary: 'stop a running job',
    flags: [],
    load: async () => (await import('./job.js')).stopJob,
  },
  {
    words: 'delete job',
    ...jobArg,
    summary: 'delete a job',
    flags: [],
    load: async () => (await import('./job.js')).deleteJob,
  },
  {
    words: 'list datum',
    args: 'JOB',
    min: 0,
    max: 1,
    summary: 'list the datums of a job',
    flags: [
      flag.int('pageSize', 'datums per page (0 = all)'),
      flag.int('page', 'page to show, from 0'),
      flag.text('file|f', 'list the datums this spec would have', { value: 'SPEC' }),
      flag.bool('status-only', 'leave out files and times'),
      ...RAW_OUTPUT,
    ],
    load: async () => (await import('./datum.js')).listDatum,
  },
  {
    words: 'inspect datum',
    args: 'JOB DATUM',
    min: 2,
    max: 2,
    summary: 'show one datum',
    flags: RAW_OUTPUT,
    load: async () => (await import('./datum.js')).inspectDatum,
  },
  {
    words: 'restart datum',
    args: 'JOB PATH,…',
    min: 2,
    max: 2,
    summary: 'run datums of a running job again',
    details:
      'Ends the present try of every datum at work that has a file at each of these paths (or with this\n' +
      'hash): the try counts as failed, the next one begins. The process of a service starts anew.',
    flags: [],
    load: async () => (await import('./datum.js')).restartDatum,
  },
  {
    words: 'debug datum',
    args: 'JOB [DATUM [-- COMMAND …]]',
    min: 1,
    max: Infinity,
    summary: 'run a datum again on this machine, in a shell',
    details:
      'Fetches the inputs of a datum and opens a shell that has them below /pfs, with the environment\n' +
      'the pipeline gave it; /tmp/run-datum is its command. Nothing of this reaches the job. DATUM may\n' +
      'be the first 8 digits; without it, one that failed is taken.',
    examples: [
      ['what failed', 'debug datum JOB'],
      ['in a script', 'debug datum JOB DATUM -- /tmp/run-datum'],
    ],
    flags: [flag.text('dir', 'keep inputs and outputs in this directory', { value: 'DIR' })],
    load: async () => (await import('./debug-datum.js')).debugDatum,
  },
  {
    words: 'logs',
    args: '',
    min: 0,
    max: 0,
    summary: 'print what pipelines wrote to their output',
    examples: [
      ['of a pipeline', 'logs -p edges'],
      ['of one job, as it runs', 'logs -j JOB -f'],
    ],
    flags: [
      flag.text('pipeline|p', 'logs of this pipeline'),
      flag.text('job|j', 'logs of this job'),
      flag.text('datum', 'logs of this datum'),
      flag.slice('inputs', 'logs of datums with these files', { value: 'PATH,…' }),
      flag.bool('master', "what the job's owner wrote"),
      flag.bool('worker', 'what the workers themselves wrote'),
      flag.bool('raw', 'print JSON'),
      flag.bool('follow|f', 'keep printing new lines'),
      flag.int('tail|t', 'only the last N lines'),
      flag.duration('since', 'only lines younger than this', { initial: '24h' }),
    ],
    old: [{ name: 'get-logs' }],
    load: async () => (await import('./logs.js')).logs,
  },
];

const secretArg = { args: 'SECRET', min: 1, max: 1 } as const;

const secretCommands: readonly Command[] = [
  {
    words: 'create secret',
    args: '',
    min: 0,
    max: 0,
    summary: 'store values that pipelines need and nobody shall read',
    examples: [['from the JSON of a Secret', 'create secret -f password.json']],
    flags: [flag.text('file|f', 'JSON of a v1 Secret, or - for standard input', { value: 'PATH' })],
    load: async () => (await import('./secret.js')).createSecret,
  },
  {
    words: 'inspect secret',
    ...secretArg,
    summary: 'show that a secret is there',
    flags: [],
    load: async () => (await import('./secret.js')).inspectSecret,
  },
  {
    words: 'list secret',
    args: '',
    min: 0,
    max: 0,
    summary: 'list secrets',
    flags: [],
    load: async () => (await import('./secret.js')).listSecret,
  },
  {
    words: 'delete secret',
    ...secretArg,
    summary: 'delete a secret',
    flags: [],
    load: async () => (await import('./secret.js')).deleteSecret,
  },
];

export const ppsCommands: readonly Command[] = [
  ...pipelineCommands,
  ...jobCommands,
  ...secretCommands,
];
