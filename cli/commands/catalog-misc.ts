/** Commands over the cluster, transactions and the configuration file. */
import { flag, type Command } from '../grammar/command.js';
import { FULL, RAW, RAW_OUTPUT } from './common-flags.js';

const none = { args: '', min: 0, max: 0 } as const;

const clusterCommands: readonly Command[] = [
  {
    words: 'version',
    ...none,
    summary: 'print the versions of this program and of the server',
    flags: [
      flag.bool('client-only', 'do not ask the server'),
      flag.duration('timeout', 'give up after this long (0s = never)', { initial: '30s' }),
      RAW,
    ],
    load: async () => (await import('./version.js')).version,
  },
  {
    words: 'inspect cluster',
    ...none,
    summary: 'print the id of the cluster',
    flags: [],
    load: async () => (await import('./cluster.js')).inspectCluster,
  },
  {
    words: 'delete all',
    ...none,
    summary: 'delete every repo and pipeline, after asking',
    flags: [],
    load: async () => (await import('./cluster.js')).deleteAll,
  },
  {
    words: 'fsck',
    ...none,
    summary: 'check that everything stored is whole',
    details:
      'Checks what commits, branches and repos say about each other, and that every stored object ' +
      'that something needs is there. Names the files that can not be read.',
    examples: [['also read and hash every stored byte', 'fsck --data']],
    flags: [
      flag.bool('fix|f', 'repair what can be repaired'),
      flag.bool('data', 'read every stored object and compare it with its hash'),
      flag.bool('no-objects', 'look at the metadata alone'),
    ],
    load: async () => (await import('./cluster.js')).fsck,
  },
  {
    words: 'garbage-collect',
    ...none,
    summary: 'free the space of data nothing refers to',
    flags: [
      flag.bool('dry-run', 'only tell what would be freed'),
      ...RAW_OUTPUT,
      flag.text('memory|m', 'accepted for old scripts', { initial: '0', hidden: true }),
    ],
    load: async () => (await import('./garbage-collect.js')).garbageCollect,
  },
  {
    words: 'extract',
    ...none,
    summary: 'save the whole cluster as an archive',
    details:
      'Repos, branches, commits, files, pipelines and jobs as of one moment; the cluster goes on ' +
      'working. The archive holds secrets too: keep it safe.',
    examples: [
      ['into a file', 'extract -o cluster.tusk'],
      ['to another cluster', 'extract | PACHD_ADDRESS=other:30650 tusk restore'],
      ['into a bucket, by the server', 'extract --url s3://backups/monday'],
    ],
    flags: [
      flag.text('output|o', 'write the archive to this file'),
      flag.text('url|u', 'let the server store it in a bucket, s3://bucket/prefix'),
      flag.bool('no-objects', 'leave out the bytes; to restore with the same object store'),
      flag.bool('no-pipelines', 'leave out pipelines and jobs; their outputs become plain repos'),
      flag.bool('no-auth', 'accepted for old scripts', { hidden: true }),
      flag.bool('no-enterprise', 'accepted for old scripts', { hidden: true }),
    ],
    load: async () => (await import('./backup.js')).extract,
  },
  {
    words: 'restore',
    ...none,
    summary: 'fill an empty cluster from an archive',
    details:
      'Nothing is visible before everything is restored. A restore that broke off is repeated ' +
      'with the same archive, or given up with --abort.',
    examples: [['from a file', 'restore -f cluster.tusk']],
    flags: [
      flag.text('file|f', 'read the archive from this file instead of standard input'),
      flag.text('url|u', 'let the server read it from a bucket, s3://bucket/prefix'),
      flag.bool('abort', 'give up a restore that broke off'),
      flag.bool('no-token', 'accepted for old scripts', { hidden: true }),
    ],
    load: async () => (await import('./backup.js')).restore,
  },
  {
    words: 'port-forward',
    ...none,
    summary: 'not needed: the server is reached directly',
    hidden: true,
    flags: [
      'port|p',
      'remote-port',
      'saml-port',
      'ui-port|u',
      'proxy-port|x',
      'pfs-port|f',
      's3gateway-port|s',
      'oidc-port',
      'namespace',
    ].map((name) => flag.text(name, 'accepted and ignored', { hidden: true })),
    load: async () => (await import('./cluster.js')).portForward,
  },
  {
    words: 'enterprise get-state',
    ...none,
    summary: 'always: nothing to license here',
    hidden: true,
    flags: [],
    load: async () => (await import('./cluster.js')).enterpriseState,
  },
];

const transactionArg = { args: '[TRANSACTION]', min: 0, max: 1 } as const;
const transactionCommands: readonly Command[] = [
  {
    words: 'start transaction',
    ...none,
    summary: 'collect the following changes',
    flags: [],
    load: async () => (await import('./transaction.js')).startTransaction,
  },
  {
    words: 'stop transaction',
    ...none,
    summary: 'stop collecting; the transaction stays',
    flags: [],
    load: async () => (await import('./transaction.js')).stopTransaction,
  },
  {
    words: 'resume transaction',
    args: 'TRANSACTION',
    min: 1,
    max: 1,
    summary: 'collect into a transaction again',
    flags: [],
    load: async () => (await import('./transaction.js')).resumeTransaction,
  },
  {
    words: 'finish transaction',
    ...transactionArg,
    summary: 'make all collected changes at once',
    flags: [],
    load: async () => (await import('./transaction.js')).finishTransaction,
  },
  {
    words: 'delete transaction',
    ...transactionArg,
    summary: 'throw the collected changes away',
    flags: [],
    load: async () => (await import('./transaction.js')).deleteTransaction,
  },
  {
    words: 'inspect transaction',
    ...transactionArg,
    summary: 'show one transaction',
    flags: [RAW, FULL],
    load: async () => (await import('./transaction.js')).inspectTransaction,
  },
  {
    words: 'list transaction',
    ...none,
    summary: 'list transactions',
    flags: [RAW, FULL],
    load: async () => (await import('./transaction.js')).listTransaction,
  },
];

const nameArg = { args: 'NAME', min: 1, max: 1 } as const;
const configCommands: readonly Command[] = [
  {
    words: 'config get metrics',
    ...none,
    summary: 'print whether usage metrics are on (nothing is ever sent)',
    flags: [],
    load: async () => (await import('./config.js')).getMetrics,
  },
  {
    words: 'config set metrics',
    args: '(true | false)',
    min: 1,
    max: 1,
    summary: 'set it',
    flags: [],
    load: async () => (await import('./config.js')).setMetrics,
  },
  {
    words: 'config get active-context',
    ...none,
    summary: 'print the context in use',
    flags: [],
    load: async () => (await import('./config.js')).getActiveContext,
  },
  {
    words: 'config set active-context',
    ...nameArg,
    summary: 'use another context',
    flags: [],
    load: async () => (await import('./config.js')).setActiveContext,
  },
  {
    words: 'config list context',
    ...none,
    summary: 'list contexts',
    flags: [],
    load: async () => (await import('./config.js')).listContext,
  },
  {
    words: 'config get context',
    ...nameArg,
    summary: 'print a context as JSON',
    flags: [],
    load: async () => (await import('./config.js')).getContext,
  },
  {
    words: 'config set context',
    ...nameArg,
    summary: 'make a context from JSON on standard input',
    flags: [
      flag.bool('overwrite', 'replace an existing context'),
      flag.text('kubernetes|k', 'not supported', { hidden: true }),
    ],
    load: async () => (await import('./config.js')).setContext,
  },
  {
    words: 'config update context',
    args: '[NAME]',
    min: 0,
    max: 1,
    summary: 'change settings of a context',
    flags: [
      flag.text('pachd-address', 'the server, like grpc://host:30650'),
      flag.text('server-cas', 'base64 of the PEM certificates to trust'),
      flag.text('cluster-name', 'kept for old clients'),
      flag.text('auth-info', 'kept for old clients'),
      flag.text('namespace', 'kept for old clients'),
      flag.bool('remove-cluster-deployment-id', 'forget which cluster this was'),
    ],
    load: async () => (await import('./config.js')).updateContext,
  },
  {
    words: 'config delete context',
    ...nameArg,
    summary: 'delete a context',
    flags: [],
    load: async () => (await import('./config.js')).deleteContext,
  },
];

const objectCommands: readonly Command[] = [
  {
    words: 'get object',
    args: 'HASH',
    min: 1,
    max: 1,
    summary: 'read an object that was stored through the object API',
    flags: [],
    load: async () => (await import('./object.js')).getObject,
  },
  {
    words: 'get tag',
    args: 'TAG',
    min: 1,
    max: 1,
    summary: 'read the object that a tag names',
    flags: [],
    load: async () => (await import('./object.js')).getTag,
  },
];

const installFlags = (path: string) => [
  flag.bool('install', 'write the script to --path instead of printing it'),
  flag.text('path', 'where --install writes it', { initial: path }),
];
const BASH_PATH = '/etc/bash_completion.d/pachctl';

const completionCommands: readonly Command[] = [
  {
    words: 'completion bash',
    ...none,
    summary: 'print the script that completes commands, repos, branches and paths in bash',
    examples: [['for every new shell', 'completion bash --install']],
    flags: installFlags(BASH_PATH),
    load: async () => (await import('./completion.js')).completionBash,
  },
  {
    words: 'completion zsh',
    ...none,
    summary: 'print the script that completes commands, repos, branches and paths in zsh',
    flags: installFlags('_pachctl'),
    load: async () => (await import('./completion.js')).completionZsh,
  },
  {
    words: 'completion',
    ...none,
    summary: 'as completion bash',
    hidden: true,
    flags: installFlags(BASH_PATH),
    load: async () => (await import('./completion.js')).completionBash,
  },
  {
    words: 'completion candidates',
    args: '-- WORD …',
    min: 0,
    max: Infinity,
    summary: 'what the scripts ask at every press of the key',
    hidden: true,
    flags: [],
    load: async () => (await import('./completion.js')).candidates,
  },
];

const drawCommands: readonly Command[] = [
  {
    words: 'draw',
    args: '[REPO-OR-PIPELINE …]',
    min: 0,
    max: Infinity,
    summary: 'show repos and pipelines as a graph',
    details:
      'Boxes with single lines are repos, those with double lines pipelines with their output repos. ' +
      'With names: only what these read and what reads these.',
    examples: [
      ['in the terminal', 'draw'],
      ['as a picture, what hangs on one repo', 'draw images --svg images.svg'],
    ],
    flags: [
      flag.text('svg', 'write an SVG picture there instead (- for standard output)', {
        value: 'PATH',
      }),
    ],
    load: async () => (await import('./draw.js')).draw,
  },
];

export const miscCommands: readonly Command[] = [
  ...drawCommands,
  ...objectCommands,
  ...clusterCommands,
  ...transactionCommands,
  ...configCommands,
  ...completionCommands,
];
