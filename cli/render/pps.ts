/** Rows for pipelines, jobs and datums, and the tab-separated datum page. */
import type {
  Aggregate,
  DatumInfo,
  JobInfo,
  PipelineInfo,
  ProcessStats,
} from '../../proto/generated/pps.js';
import { DatumState } from '../../proto/generated/pps.js';
import type { FileInfo } from '../../proto/generated/pfs.js';
import type { DatumAggregates } from '../../proto/generated/tusk.js';
import type { Paint } from './colour.js';
import {
  durationMs,
  formatBetween,
  formatSpan,
  formatTime,
  goDuration,
  type TimeStyle,
} from './duration.js';
import { formatSize } from './size.js';
import { bar, doneOf, isUnderWay } from './progress.js';
import { datumState, inputShorthand, jobState, jobStateCell, pipelineState } from './states.js';
import { columnWidths, formatTable, line, type Geometry } from './table.js';

export const JOB_HEADER = [
  'ID',
  'PIPELINE',
  'STARTED',
  'DURATION',
  'RESTART',
  'PROGRESS',
  'DL',
  'UL',
  'STATE',
];

/** `5 + 10 / 20`, with recovered datums `5 + 10 + 2 / 20`. */
export function jobProgress(info: JobInfo): string {
  const recovered = info.dataRecovered > 0 ? ` + ${info.dataRecovered}` : '';
  return `${info.dataProcessed} + ${info.dataSkipped}${recovered} / ${info.dataTotal}`;
}

/** `bars`: jobs that are under way have one beside their numbers, for terminals. */
export function jobRow(
  info: JobInfo,
  time: TimeStyle,
  paint: Paint,
  { bars = false }: { readonly bars?: boolean } = {},
): string[] {
  const progress = jobProgress(info);
  const shown =
    bars && isUnderWay(info) ? `${progress} ${bar(doneOf([info]), paint, 10)}` : progress;
  return [
    info.job?.id ?? '',
    info.pipeline?.name ?? '',
    formatTime(info.started, time),
    formatBetween(info.started, info.finished),
    String(info.restart),
    shown,
    formatSize(info.stats?.downloadBytes ?? 0),
    formatSize(info.stats?.uploadBytes ?? 0),
    jobStateCell(info.state, info.reason, paint),
  ];
}

export const PIPELINE_HEADER = [
  'NAME',
  'VERSION',
  'INPUT',
  'CREATED',
  'STATE / LAST JOB',
  'DESCRIPTION',
];

export function pipelineRow(info: PipelineInfo, time: TimeStyle, paint: Paint): string[] {
  const state = `${pipelineState(info.state, paint)} / ${jobState(info.lastJobState, paint)}`;
  const name = info.pipeline?.name ?? '';
  if (!info.transform) return [name, '-', '-', '-', state, 'pipeline details unavailable'];
  return [
    name,
    String(info.version),
    inputShorthand(info.input),
    formatTime(info.createdAt, time),
    state,
    info.description,
  ];
}

export const DATUM_HEADER = ['ID', 'FILES', 'STATUS', 'TIME'];

/** Download, process and upload time together. */
export function totalMs(stats: ProcessStats | undefined): number | undefined {
  if (!stats?.downloadTime && !stats?.processTime && !stats?.uploadTime) return undefined;
  return (
    durationMs(stats.downloadTime) + durationMs(stats.processTime) + durationMs(stats.uploadTime)
  );
}

export function datumRow(info: DatumInfo, paint: Paint): string[] {
  const files = info.data.map((file) => fileName(file)).join(', ');
  const total = totalMs(info.stats);
  return [
    info.datum?.id || '-',
    files,
    datumState(info.state, paint),
    total === undefined ? '-' : formatSpan(total),
  ];
}

function fileName(info: FileInfo): string {
  const commit = info.file?.commit;
  return `${commit?.repo?.name ?? ''}@${commit?.id ?? ''}:${info.file?.path ?? ''}`;
}

const FILES_GEOMETRY: Geometry = { min: 10, gap: 3 };

/** `inspect datum`. */
export function datumPage(info: DatumInfo): string {
  const stats = info.stats;
  const total = totalMs(stats) ?? 0;
  const state = DatumState[info.state] ?? '';
  const pairs: readonly (readonly [string, string])[] = [
    ['ID', info.datum?.id ?? ''],
    ['Job ID', info.datum?.job?.id ?? ''],
    ['State', state],
    ...(info.reason === '' ? [] : [['Reason', info.reason] as const]),
    ['Data Downloaded', formatSize(stats?.downloadBytes ?? 0)],
    ['Data Uploaded', formatSize(stats?.uploadBytes ?? 0)],
    [
      'Total Time',
      goDuration({ seconds: Math.trunc(total / 1000), nanos: Math.round((total % 1000) * 1e6) }),
    ],
    ['Download Time', goDuration(stats?.downloadTime)],
    ['Process Time', goDuration(stats?.processTime)],
    ['Upload Time', goDuration(stats?.uploadTime)],
  ];
  const text = pairs.map(([label, value]) => `${label}\t${value}\n`).join('');
  const pfsState = info.pfsState ? [info.pfsState] : [];
  const inputs = info.data.flatMap((file) => (file.file ? [file.file] : []));
  return `${text}PFS State:\n${filesTable(pfsState)}Inputs:\n${filesTable(inputs)}`;
}

function filesTable(files: readonly NonNullable<FileInfo['file']>[]): string {
  const rows = [
    ['  REPO', 'COMMIT', 'PATH'],
    ...files.map((file) => [
      `  ${file.commit?.repo?.name ?? ''}`,
      file.commit?.id ?? '',
      file.path,
    ]),
  ];
  const widths = columnWidths(rows, FILES_GEOMETRY);
  return rows.map((row) => line(row, widths)).join('');
}

/** `inspect job --stats`: what the datums that ran in a job took. */
export function datumStats(stats: DatumAggregates): string {
  const span = (seconds: number): string =>
    goDuration({ seconds: Math.trunc(seconds), nanos: Math.round((seconds % 1) * 1e3) * 1e6 });
  const size = (bytes: number): string => formatSize(Math.round(bytes));
  const lines: readonly (readonly [string, Aggregate | undefined, (value: number) => string])[] = [
    ['Download Time', stats.downloadTime, span],
    ['Process Time', stats.processTime, span],
    ['Upload Time', stats.uploadTime, span],
    ['Data Downloaded', stats.downloadBytes, size],
    ['Data Uploaded', stats.uploadBytes, size],
  ];
  const rows = lines.map(([name, one, show]) => {
    const { mean = 0, stddev = 0, fifthPercentile = 0, ninetyFifthPercentile = 0 } = one ?? {};
    return [name, ...[mean, stddev, fifthPercentile, ninetyFifthPercentile].map(show)];
  });
  const header = ['PER DATUM', 'MEAN', 'STDDEV', '5%', '95%'];
  return `Datums: ${stats.processTime?.count ?? 0}\n${formatTable(header, rows)}`;
}
