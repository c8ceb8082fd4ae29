import { describe, expect, it } from 'vitest';
import { BranchInfo, CommitInfo, FileInfo, FileType } from '../../proto/generated/pfs.js';
import {
  DatumInfo,
  DatumState,
  Input,
  JobInfo,
  JobState,
  PipelineInfo,
  PipelineState,
} from '../../proto/generated/pps.js';
import { paintWith } from './colour.js';
import {
  BRANCH_HEADER,
  branchBlock,
  branchRow,
  COMMIT_HEADER,
  commitBlock,
  commitRow,
  FILE_HISTORY_HEADER,
  fileBlock,
  fileHistoryRow,
} from './pfs.js';
import { datumPage, JOB_HEADER, jobRow, PIPELINE_HEADER, pipelineRow } from './pps.js';
import { jobPage, pipelinePage } from './pps-pages.js';
import { inputShorthand, triggerText } from './states.js';
import { formatTable } from './table.js';

const plain = paintWith(false);
const NOW = 1_700_000_000;
const time = { nowMs: NOW * 1000, full: false };
const ago = (seconds: number) => ({ seconds: NOW - seconds, nanos: 0 });
const A = '03af2c900b9a41f2a10cb92a4a7f50e8';
const B = '5f43ec065bc7413a99df1d095341dab3';
const edges = { name: 'edges' };

describe('commits', () => {
  const finished = CommitInfo.fromPartial({
    commit: { repo: edges, id: A },
    branch: { repo: edges, name: 'master' },
    parentCommit: { repo: edges, id: B },
    started: ago(7 * 60),
    finished: ago(5 * 60),
    sizeBytes: 5_331_943,
    description: 'my desc',
    subvenantCommitsTotal: 1,
    subvenantCommitsSuccess: 1,
    provenance: [
      {
        commit: { repo: { name: 'images' }, id: '64a9' },
        branch: { repo: { name: 'images' }, name: 'master' },
      },
      {
        commit: { repo: { name: '__spec__' }, id: 'c328' },
        branch: { repo: { name: '__spec__' }, name: 'edges' },
      },
      {
        commit: { repo: { name: 'Train' }, id: '77' },
        branch: { repo: { name: 'Train' }, name: 'master' },
      },
    ],
  });
  const open = CommitInfo.fromPartial({ commit: { repo: edges, id: B }, started: ago(9) });

  it('lists them with a bar', () => {
    const rows = [finished, open].map((info) => commitRow(info, time, plain));
    expect(formatTable(COMMIT_HEADER, rows, { bareHeaderEnd: true })).toBe(
      'REPO  BRANCH COMMIT                           FINISHED      SIZE     PROGRESS DESCRIPTION\n' +
        `edges master ${A} 5 minutes ago 5.085MiB ▇▇▇▇▇▇▇▇ my desc     \n` +
        `edges <none> ${B} -             -        -                    \n`,
    );
  });

  it('has the new and the old page', () => {
    expect(commitBlock(finished, time, false)).toBe(
      `Commit: edges@${A}\nOriginal Branch: master\nDescription: my desc\nParent: ${B}\n` +
        'Started: 7 minutes ago\nFinished: 5 minutes ago\nSize: 5.085MiB\n' +
        'Provenance:  Train@77 (master)  __spec__@c328 (edges)  images@64a9 (master) \n',
    );
    expect(commitBlock({ ...finished, description: '' }, time, true)).toBe(
      `Commit: edges/${A}\nParent: ${B}\nStarted: 7 minutes ago\nFinished: 5 minutes ago\n` +
        'Size: 5.085MiB\nProvenance:  Train/77  __spec__/c328  images/64a9 \n',
    );
  });
});

describe('branches and files', () => {
  it('prints branches', () => {
    const list = [
      BranchInfo.fromPartial({
        branch: { repo: edges, name: 'master' },
        head: { repo: edges, id: A },
      }),
      BranchInfo.fromPartial({ branch: { repo: edges, name: 'staging' } }),
    ];
    expect(formatTable(BRANCH_HEADER, list.map(branchRow))).toBe(
      'BRANCH  HEAD                             TRIGGER \n' +
        `master  ${A} -       \nstaging -                                -       \n`,
    );
    expect(branchBlock(list[0] as BranchInfo)).toBe(
      `Name: edges@master\nHead Commit: edges@${A} \n`,
    );
    expect(
      triggerText({ branch: 'b', all: true, cronSpec: '@daily', size: '1K', commits: 2 }),
    ).toBe('b on Cron(@daily) and Size(1K) and Commits(2)');
  });

  it('prints files', () => {
    const dir = FileInfo.fromPartial({
      file: { path: '/dir', commit: { id: A } },
      fileType: FileType.DIR,
      sizeBytes: 34_321_000,
      committed: ago(3600),
      children: ['a', 'b'],
    });
    const zero = FileInfo.fromPartial({ file: { path: '/zero', commit: { id: A } }, fileType: 1 });
    const rows = [dir, zero].map((info) => fileHistoryRow(info, time));
    expect(formatTable(FILE_HISTORY_HEADER, rows)).toBe(
      'COMMIT                           NAME  TYPE COMMITTED         SIZE     \n' +
        `${A} /dir  dir  About an hour ago 32.73MiB \n` +
        `${A} /zero file -                 0B       \n`,
    );
    expect(fileBlock(dir)).toBe('Path: /dir\nType: dir\nSize: 32.73MiB\nChildren:  a  b \n');
  });
});

describe('jobs, pipelines, datums', () => {
  const job = JobInfo.fromPartial({
    job: { id: A },
    pipeline: edges,
    started: ago(5 * 3600),
    finished: ago(5 * 3600 - 5),
    dataProcessed: 5,
    dataSkipped: 10,
    dataTotal: 20,
    stats: { downloadBytes: 58_644, uploadBytes: 22_753 },
    state: JobState.JOB_FAILURE,
    reason: 'datum 0123456789abcdef0123456789 failed',
  });

  it('lists jobs, cutting reasons at 25 bytes', () => {
    const running = { ...job, finished: undefined, dataRecovered: 2, state: JobState.JOB_RUNNING };
    const rows = [job, running].map((info) => jobRow(info, time, plain));
    expect(formatTable(JOB_HEADER, rows)).toBe(
      `ID                               PIPELINE STARTED     DURATION  RESTART PROGRESS        DL       UL       STATE                                 \n` +
        `${A} edges    5 hours ago 5 seconds 0       5 + 10 / 20     57.27KiB 22.22KiB failure: datum 0123456789abcdef012... \n` +
        `${A} edges    5 hours ago -         0       5 + 10 + 2 / 20 57.27KiB 22.22KiB running                               \n`,
    );
  });

  it('lists pipelines', () => {
    const info = PipelineInfo.fromPartial({
      pipeline: edges,
      version: 2,
      transform: {},
      createdAt: ago(120),
      state: PipelineState.PIPELINE_RUNNING,
      lastJobState: JobState.JOB_SUCCESS,
      description: 'my pipe',
      input: {
        cross: [{ pfs: { repo: 'images', glob: '/*' } }, { pfs: { repo: 'labels', glob: '/' } }],
      },
    });
    expect(formatTable(PIPELINE_HEADER, [pipelineRow(info, time, plain)])).toBe(
      'NAME  VERSION INPUT                  CREATED       STATE / LAST JOB  DESCRIPTION \n' +
        'edges 2       (images:/* ⨯ labels:/) 2 minutes ago running / success my pipe     \n',
    );
    expect(pipelinePage(info, time, plain)).toContain('Job Timeout: none\nInput:\n{\n  "cross": [');
  });

  it('shortens inputs', () => {
    const pfs = (repo: string) => ({ pfs: { repo, glob: '/' } });
    const text = (input: object): string => inputShorthand(Input.fromPartial(input));
    expect(text({ union: [pfs('a'), pfs('b')] })).toBe('(a:/ ∪ b:/)');
    expect(text({ join: [pfs('a'), pfs('b')] })).toBe('(a:/ ⋈ b:/)');
    expect(text({ group: [pfs('a'), pfs('b')] })).toBe('(Group: a:/, b:/)');
    expect(text({ cron: { name: 'tick', spec: '@every 60s' } })).toBe('tick:@every 60s');
    expect(inputShorthand(undefined)).toBe('none');
  });

  it('prints job and datum pages', () => {
    const page = jobPage({ ...job, transform: undefined }, time, plain);
    expect(page).toMatch(new RegExp(`^ID: ${A} \nPipeline: edges  \nStarted: 5 hours ago \n`));
    expect(page).toContain('\nProcessed: 5\nFailed: 0\nSkipped: 10\nRecovered: 0\nTotal: 20\n');
    const datum = DatumInfo.fromPartial({
      datum: { id: 'd', job: { id: 'j' } },
      state: DatumState.SUCCESS,
      stats: {
        downloadTime: { seconds: 0, nanos: 12_000_000 },
        processTime: { seconds: 2, nanos: 500_000_000 },
        uploadTime: { seconds: 0, nanos: 34_000_000 },
        downloadBytes: 58_644,
      },
    });
    expect(datumPage(datum)).toBe(
      'ID\td\nJob ID\tj\nState\tSUCCESS\nData Downloaded\t57.27KiB\nData Uploaded\t0B\n' +
        'Total Time\t2.546s\nDownload Time\t12ms\nProcess Time\t2.5s\nUpload Time\t34ms\n' +
        'PFS State:\n  REPO    COMMIT    PATH      \nInputs:\n  REPO    COMMIT    PATH      \n',
    );
  });
});
