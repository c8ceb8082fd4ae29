/** What it takes to run a datum of a job again on somebody's own machine. */
import { invalidInput, notFound } from '../../core/errors.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { JobSpec, WorkDatum } from '../../queue/messages.js';
import type { Wait } from '../../storage/types.js';
import type { JobRecord } from '../pipelines/model.js';
import { findDatum, listDatums, type DatumListDeps, type DatumRow } from './datum-list.js';
import { leaves } from './enumerate.js';
import { jobSpec } from './job-spec.js';

export interface DatumRecipe {
  readonly row: DatumRow;
  readonly spec: JobSpec;
  /** Without tag and nodes: the files are read through the API. */
  readonly work: WorkDatum;
}

/** Shortest beginning of an id that may stand for it. */
const ID_CHARS_MIN = 8;

/** `id`: whole, or its beginning; empty = one that failed. Throws NOT_FOUND. */
export async function describeDatum(
  deps: DatumListDeps,
  job: JobRecord,
  info: PipelineInfo,
  id: string,
  wait: Wait,
): Promise<DatumRecipe> {
  const { input } = info;
  const whole = await wholeId(deps, job, { id, input }, wait);
  const row = await findDatum(deps, job, whole, { ...wait, input });
  if (!row) throw notFound(`job ${job.id} has no datum ${id}`, { fields: { job: job.id, id } });
  const byName = new Map(leaves(input).map((leaf) => [leaf.name, leaf]));
  const inputs = row.files.map(({ name, repo, branch, commit, path }) => ({
    ...{ name, repo, branch, commit, path, node: '' },
    ...(byName.get(name)?.lazy ? { lazy: true } : {}),
    ...(byName.get(name)?.emptyFiles ? { emptyFiles: true } : {}),
    ...(byName.get(name)?.s3 ? { s3: true } : {}),
  }));
  return {
    row,
    spec: jobSpec(info, job, 0),
    work: { index: 0, id: row.id, tag: '', inputs },
  };
}

async function wholeId(
  deps: DatumListDeps,
  job: JobRecord,
  { id, input }: { readonly id: string; readonly input: PipelineInfo['input'] },
  wait: Wait,
): Promise<string> {
  if (id.length === 64) return id;
  if (id !== '' && (id.length < ID_CHARS_MIN || !/^[0-9a-f]+$/.test(id))) {
    throw invalidInput(`"${id}" is no datum id: give 64 hex digits, or the first 8 or more`);
  }
  for await (const row of listDatums(deps, job, { ...wait, input, statusOnly: true })) {
    if (id === '' ? row.state === 'FAILED' : row.id.startsWith(id)) return row.id;
  }
  const text = id === '' ? 'no datum that failed: name one' : `no datum ${id}`;
  throw notFound(`job ${job.id} has ${text}`, { fields: { job: job.id, id } });
}
