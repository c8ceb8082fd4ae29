/** Commands over repos, commits, branches and files. */
import { flag, type Command } from '../grammar/command.js';
import { fromSlashForm } from '../grammar/refs.js';
import { FULL, joinFile, joinRef, NO_PAGER, RAW } from './common-flags.js';
import { joins } from './joins.js';

const DESCRIPTION = flag.text('description|d', 'what the repo is for');
const MESSAGE = [
  flag.text('message|m', 'a description of the commit'),
  flag.text('description', 'the same as --message'),
];
const repoArgs = { args: 'REPO', min: 1, max: 1 } as const;
const commitArgs = { args: 'REPO@BRANCH-OR-COMMIT', min: 1, max: 1 } as const;
const fileArgs = { args: 'REPO@BRANCH-OR-COMMIT:PATH', min: 1, max: 1 } as const;

/** Old form with repo and commit as two words. */
const oldCommit = (name: string) => ({
  name,
  args: 'REPO BRANCH-OR-COMMIT',
  min: 2,
  max: 2,
  rewrite: ([repo, id]: readonly string[]) => ({ args: [joinRef(repo, id)] }),
});
/** Old form with repo, commit and path as three words. */
const oldFile = (name: string, min: number, at = 'BRANCH-OR-COMMIT') => ({
  name,
  args: min === 3 ? `REPO ${at} PATH` : `REPO ${at} [PATH]`,
  min,
  max: 3,
  rewrite: ([repo, id, path]: readonly string[]) => ({ args: [joinFile(repo, id, path)] }),
});

const repoCommands: readonly Command[] = [
  {
    words: 'create repo',
    ...repoArgs,
    summary: 'make a new repo',
    flags: [DESCRIPTION],
    examples: [['a repo for raw tables', 'create repo tables -d "raw tables"']],
    load: joins(async () => (await import('./repo.js')).createRepo),
  },
  {
    words: 'update repo',
    ...repoArgs,
    summary: 'change the description of a repo',
    flags: [DESCRIPTION],
    load: joins(async () => (await import('./repo.js')).updateRepo),
  },
  {
    words: 'inspect repo',
    ...repoArgs,
    summary: 'show one repo',
    flags: [RAW, FULL],
    load: async () => (await import('./repo.js')).inspectRepo,
  },
  {
    words: 'list repo',
    args: '',
    min: 0,
    max: 0,
    summary: 'list all repos',
    flags: [RAW, FULL],
    old: [
      {
        name: 'list-repo',
        flags: [flag.repeat('provenance|p', 'accepted and ignored', { hidden: true })],
      },
    ],
    load: async () => (await import('./repo.js')).listRepo,
  },
  {
    words: 'delete repo',
    args: '(REPO | --all)',
    min: 0,
    max: 1,
    summary: 'delete a repo and all its data',
    flags: [
      flag.bool('force|f', 'also when other repos depend on it'),
      flag.bool('all', 'delete every repo'),
      flag.bool('split-txn', 'delete a huge repo in many steps; it can be repeated when it stops'),
    ],
    load: async () => (await import('./repo.js')).deleteRepo,
  },
];

const commitCommands: readonly Command[] = [
  {
    words: 'start commit',
    args: 'REPO@BRANCH',
    min: 1,
    max: 1,
    summary: 'open a commit and print its id',
    details:
      'Opens a commit and prints its id. Files put into it become visible together when it is finished.',
    flags: [flag.text('parent|p', 'branch or commit to build on'), ...MESSAGE],
    old: [
      {
        name: 'start-commit',
        args: 'REPO [BRANCH]',
        min: 1,
        max: 2,
        rewrite: ([repo, id]) => ({ args: [joinRef(repo, id)] }),
      },
    ],
    load: joins(async () => (await import('./commit.js')).startCommit),
  },
  {
    words: 'finish commit',
    ...commitArgs,
    summary: 'close an open commit',
    flags: MESSAGE,
    old: [oldCommit('finish-commit')],
    load: joins(async () => (await import('./commit.js')).finishCommit),
  },
  {
    words: 'inspect commit',
    ...commitArgs,
    summary: 'show one commit',
    flags: [RAW, FULL],
    old: [oldCommit('inspect-commit')],
    load: async () => (await import('./commit.js')).inspectCommit,
  },
  {
    words: 'list commit',
    args: 'REPO[@BRANCH]',
    min: 1,
    max: 1,
    summary: 'list the commits of a repo or branch',
    flags: [
      flag.text('from|f', 'list only commits after this one', { value: 'COMMIT' }),
      flag.int('number|n', 'list at most this many (0 = all)', { initial: '0' }),
      RAW,
      FULL,
    ],
    old: [
      {
        name: 'list-commit',
        args: 'REPO [BRANCH]',
        min: 1,
        max: 2,
        rewrite: ([repo, id]) => ({ args: [joinRef(repo, id)] }),
      },
    ],
    load: async () => (await import('./commit.js')).listCommit,
  },
  {
    words: 'flush commit',
    args: 'REPO@COMMIT …',
    min: 1,
    max: Infinity,
    summary: 'wait until everything downstream of commits is done',
    details:
      'Waits until every commit that pipelines make from the given ones is finished, then lists them.',
    flags: [
      flag.repeat('repos|r', 'wait only for commits in this repo (may be repeated)', {
        value: 'REPO',
      }),
      RAW,
      FULL,
    ],
    old: [
      {
        name: 'flush-commit',
        args: 'REPO/COMMIT …',
        rewrite: (args) => ({ args: args.map(fromSlashForm) }),
      },
    ],
    load: async () => (await import('./commit.js')).flushCommit,
  },
  {
    words: 'subscribe commit',
    args: 'REPO@BRANCH',
    min: 1,
    max: 1,
    summary: 'print commits of a branch as they appear',
    flags: [
      flag.text('from', 'start after this commit', { value: 'COMMIT' }),
      flag.bool('new', 'only commits made from now on'),
      flag.text('pipeline', 'only commits made by this pipeline'),
      RAW,
      FULL,
    ],
    old: [oldCommit('subscribe-commit')],
    load: async () => (await import('./commit.js')).subscribeCommit,
  },
  {
    words: 'delete commit',
    ...commitArgs,
    summary: 'delete an input commit and everything made from it',
    flags: [],
    old: [oldCommit('delete-commit')],
    load: joins(async () => (await import('./commit.js')).deleteCommit),
  },
];

const branchCommands: readonly Command[] = [
  {
    words: 'create branch',
    args: 'REPO@BRANCH',
    min: 1,
    max: 1,
    summary: 'make a branch, or move one',
    flags: [
      flag.text('head', 'branch or commit it points to'),
      flag.repeat('provenance|p', 'a branch it depends on (may be repeated)', {
        value: 'REPO@BRANCH',
      }),
      flag.text('trigger|t', 'branch whose new commits move this one', { value: 'BRANCH' }),
      flag.text('trigger-cron', 'move when this schedule ticks', { value: 'SPEC' }),
      flag.text('trigger-size', 'move after this much new data', { value: 'SIZE' }),
      flag.int('trigger-commits', 'move after this many commits'),
      flag.bool('trigger-all', 'all conditions must hold, not any'),
    ],
    old: [
      {
        name: 'create-branch',
        args: 'REPO BRANCH',
        min: 2,
        max: 2,
        rewrite: ([repo, id]) => ({ args: [joinRef(repo, id)] }),
      },
      {
        name: 'set-branch',
        args: 'REPO BRANCH-OR-COMMIT NEW-BRANCH',
        min: 3,
        max: 3,
        rewrite: ([repo, head, id]) => ({
          args: [joinRef(repo, id)],
          flags: { head: head ?? '' },
        }),
      },
    ],
    load: joins(async () => (await import('./branch.js')).createBranch),
  },
  {
    words: 'inspect branch',
    args: 'REPO@BRANCH',
    min: 1,
    max: 1,
    summary: 'show one branch',
    flags: [RAW, FULL],
    old: [oldCommit('inspect-branch')],
    load: async () => (await import('./branch.js')).inspectBranch,
  },
  {
    words: 'list branch',
    ...repoArgs,
    summary: 'list the branches of a repo',
    flags: [RAW],
    load: async () => (await import('./branch.js')).listBranch,
  },
  {
    words: 'delete branch',
    args: 'REPO@BRANCH',
    min: 1,
    max: 1,
    summary: 'delete a branch; its commits stay',
    flags: [flag.bool('force|f', 'also when other branches depend on it')],
    old: [oldCommit('delete-branch')],
    load: joins(async () => (await import('./branch.js')).deleteBranch),
  },
];

const putFlags = [
  flag.slice('file|f', 'local file or directory, URL, or - for standard input; may be repeated', {
    value: 'PATH',
    initial: '-',
  }),
  flag.bool('recursive|r', 'put directories with everything in them'),
  flag.bool('overwrite|o', 'replace files instead of appending to them'),
  flag.text('input-file|i', 'read the list of sources from this file, one per line', {
    value: 'PATH',
  }),
  flag.text('split', 'cut the input into records: line, json, csv or sql', { value: 'KIND' }),
  flag.uint('target-file-datums', 'with --split: records per file'),
  flag.uint('target-file-bytes', 'with --split: close a file at this many bytes'),
  flag.uint('header-records', 'with --split: the first N records head every file'),
  flag.bool('link', 'with s3:// urls: keep a reference, the bytes stay where they are'),
  flag.int('parallelism|p', 'files read at once', { initial: '10' }),
  flag.bool('progress', 'show progress bars (default: on a terminal)'),
  flag.bool('commit|c', 'accepted for old scripts; every put is its own commit', { hidden: true }),
  flag.bool('compress', 'accepted and ignored', { hidden: true }),
  flag.text('message|m', 'accepted and ignored', { hidden: true }),
  flag.text('description', 'accepted and ignored', { hidden: true }),
];

const fileCommands: readonly Command[] = [
  {
    words: 'put file',
    args: 'REPO@BRANCH[:PATH]',
    min: 1,
    max: 1,
    summary: 'put files into a repo',
    details:
      'Puts files into a repo. All sources of one call become one commit, unless the branch has an open\n' +
      'commit: then they are added to that. Without PATH files keep the path they were named by; with\n' +
      'PATH one source gets exactly that path, several land under it.',
    examples: [
      ['one file', 'put file data@master -f table.csv'],
      ['a directory', 'put file data@master -r -f images'],
      ['from a program', 'put file data@master:log.txt < log.txt'],
      [
        'one file for every 100 lines',
        'put file data@master -f table.csv --split line --target-file-datums 100',
      ],
      [
        'one file per row, each with the first row as its header',
        'put file data@master:rows -f table.csv --split csv --header-records 1',
      ],
      ['what is in a bucket', 'put file data@master:in -r -f s3://bucket/prefix'],
      ['the same, without moving bytes', 'put file data@master:in -r --link -f s3://bucket/prefix'],
    ],
    flags: putFlags,
    old: [oldFile('put-file', 2, 'BRANCH')],
    load: async () => (await import('./put-file.js')).putFile,
  },
  {
    words: 'get file',
    ...fileArgs,
    summary: 'read a file, or download a directory',
    examples: [
      ['to standard output', 'get file data@master:/table.csv'],
      ['a directory', 'get file -r data@master:/images -o images'],
    ],
    flags: [
      flag.text('output|o', 'write here instead of to standard output', { value: 'PATH' }),
      flag.bool('recursive|r', 'download a directory'),
      flag.int('parallelism|p', 'files downloaded at once', { initial: '10' }),
      flag.bool('progress', 'show progress bars (default: on a terminal)'),
      flag.int('offset', 'skip this many bytes'),
      flag.bool('retry', 'append what the local file is missing'),
    ],
    old: [oldFile('get-file', 3)],
    load: async () => (await import('./get-file.js')).getFile,
  },
  {
    words: 'copy file',
    args: 'REPO@X:PATH REPO@BRANCH:PATH',
    min: 2,
    max: 2,
    summary: 'copy files between repos or branches',
    flags: [flag.bool('overwrite|o', 'replace the target instead of appending to it')],
    old: [
      {
        name: 'copy-file',
        args: 'REPO X PATH REPO BRANCH PATH',
        min: 6,
        max: 6,
        rewrite: ([a, b, c, d, e, f]) => ({ args: [joinFile(a, b, c), joinFile(d, e, f)] }),
      },
    ],
    load: async () => (await import('./file.js')).copyFile,
  },
  {
    words: 'list file',
    args: 'REPO@BRANCH-OR-COMMIT[:PATH]',
    min: 1,
    max: 1,
    summary: 'list the files of a directory',
    flags: [
      flag.text('history', 'also older versions: none, a number, or all', { initial: 'none' }),
      RAW,
      FULL,
    ],
    old: [oldFile('list-file', 2)],
    load: async () => (await import('./file.js')).listFile,
  },
  {
    words: 'glob file',
    args: "'REPO@BRANCH-OR-COMMIT:PATTERN'",
    min: 1,
    max: 1,
    summary: 'list the files that match a pattern',
    flags: [RAW, FULL],
    old: [oldFile('glob-file', 3)],
    load: async () => (await import('./file.js')).globFile,
  },
  {
    words: 'inspect file',
    ...fileArgs,
    summary: 'show one file',
    flags: [RAW],
    old: [oldFile('inspect-file', 3)],
    load: async () => (await import('./file.js')).inspectFile,
  },
  {
    words: 'diff file',
    args: 'REPO@X:PATH [REPO@Y:PATH]',
    min: 1,
    max: 2,
    summary: 'show how files differ from the parent commit or another one',
    flags: [
      flag.bool('shallow|s', 'do not look into directories'),
      flag.bool('name-only', 'list the files that differ, not how'),
      flag.text('diff-command', 'program that compares two files'),
      FULL,
      NO_PAGER,
    ],
    old: [
      {
        name: 'diff-file',
        args: 'REPO X PATH [REPO Y PATH]',
        min: 3,
        max: 6,
        rewrite: ([a, b, c, d, e, f]) => ({
          args: d === undefined ? [joinFile(a, b, c)] : [joinFile(a, b, c), joinFile(d, e, f)],
        }),
      },
    ],
    load: async () => (await import('./diff-file.js')).diffFile,
  },
  {
    words: 'delete file',
    ...fileArgs,
    summary: 'delete a file or directory from a branch',
    flags: [],
    old: [oldFile('delete-file', 3)],
    load: async () => (await import('./file.js')).deleteFile,
  },
];

const mountCommands: readonly Command[] = [
  {
    words: 'mount',
    args: 'DIR',
    min: 1,
    max: 1,
    summary: 'show repos as a local directory (Linux, FUSE)',
    details:
      'Shows each repo as a subdirectory, at the commit its branch has now, until the directory is\nunmounted. What is written into writable repos becomes one commit per repo at that moment.',
    examples: [
      ['every repo, read-only', 'mount /mnt/data'],
      ['one branch, to write into', 'mount /mnt/data -r photos@staging+w'],
    ],
    flags: [
      flag.repeat('repos|r', 'only these: repo[@branch-or-commit][+w], +w to write', {
        value: 'REPO',
      }),
      flag.repeat('commits|c', 'as --repos, for old scripts', { hidden: true }),
      flag.bool('write|w', 'write into every repo that is no output of a pipeline'),
      flag.bool('debug|d', 'say what goes wrong'),
      flag.uint('fuse-fd', 'a device that is mounted already', { hidden: true }),
    ],
    load: async () => (await import('./mount.js')).mount,
  },
  {
    words: 'unmount',
    args: '(DIR | --all)',
    min: 0,
    max: 1,
    summary: 'end a mount and commit what was written there',
    flags: [flag.bool('all|a', 'every mount of this machine, after asking')],
    load: async () => (await import('./mount.js')).unmount,
  },
];

export const pfsCommands: readonly Command[] = [
  ...repoCommands,
  ...commitCommands,
  ...branchCommands,
  ...fileCommands,
  ...mountCommands,
];
