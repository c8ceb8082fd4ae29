/** Inspecting and listing pipelines, present and past specs alike. */
import { codeOf } from '../../core/errors.js';
import type { ListPipelineRequest, PipelineInfo } from '../../proto/generated/pps.js';
import type { Wait } from '../../storage/types.js';
import type { Meta } from '../meta/index.js';
import { liveStateKey, type LiveState } from '../scheduling/live/model.js';
import { commitKey, SPEC_REPO, type CommitRecord } from '../versioning/model.js';
import { parseRef } from '../versioning/refs.js';
import { toIncompletePipelineInfo, toPipelineInfo } from './convert.js';
import { compileFilter } from './filter.js';
import { pipelineKey, pipelineNotFound, PIPELINES, type PipelineRecord } from './model.js';
import type { SpecStore } from './spec-store.js';

export interface ListDeps {
  readonly meta: Meta;
  readonly specs: SpecStore;
}

const PARALLEL = 16;

/** Every pipeline's record, newest created first. */
export async function listRecords(
  meta: Meta,
  wait: Wait,
): Promise<{ record: PipelineRecord; created: number }[]> {
  const found: { record: PipelineRecord; created: number }[] = [];
  for await (const kv of meta.scan(PIPELINES, wait)) {
    const record = JSON.parse(kv.value.toString()) as PipelineRecord;
    found.push({ record, created: kv.createRevision });
  }
  // Those of a restored cluster were all made at once; they keep the order they had.
  return found.sort(
    (a, b) => b.created - a.created || (b.record.order ?? 0) - (a.record.order ?? 0),
  );
}

/** The record of a pipeline. Throws NOT_FOUND. */
export async function getRecord(meta: Meta, name: string, wait: Wait): Promise<PipelineRecord> {
  const kv = name === '' ? undefined : await meta.get(pipelineKey(name), wait);
  if (!kv) throw pipelineNotFound(name);
  return JSON.parse(kv.value.toString()) as PipelineRecord;
}

/**
 * A pipeline; the name may carry an ancestry suffix (`edges^`, `edges.1`) to see an older spec.
 * Throws NOT_FOUND.
 */
export async function inspectPipeline(
  deps: ListDeps,
  name: string,
  wait: Wait,
): Promise<PipelineInfo> {
  const { base, ancestor, fromRoot } = parseRef(name);
  const record = await getRecord(deps.meta, base, wait);
  if (ancestor === 0 && fromRoot === 0) return atCommit(deps, record, record.specCommit, wait);
  const lineage = await specCommits(deps.meta, record, -1, wait);
  const at = fromRoot > 0 ? lineage.length - fromRoot : ancestor;
  const commit = lineage[at];
  if (commit === undefined) throw pipelineNotFound(name);
  return atCommit(deps, record, commit, wait);
}

async function atCommit(
  deps: ListDeps,
  record: PipelineRecord,
  specCommit: string,
  wait: Wait,
): Promise<PipelineInfo> {
  const spec = await deps.specs.load({ pipeline: record.name, specCommit }, wait);
  const info = toPipelineInfo(spec, record, specCommit);
  const service = info.service ?? info.spout?.service;
  if (!service) return info;
  // Shared with the cache of specs, so it is not changed in place.
  const live = await deps.meta.getJson<LiveState>(liveStateKey(record.name), wait);
  const shown = { ...service, ip: live?.address ?? '' };
  if (info.service) return { ...info, service: shown };
  return { ...info, spout: info.spout && { ...info.spout, service: shown } };
}

/**
 * Ids of the pipeline's spec commits, newest first: the present one and at most `history` before it
 * (-1 = all).
 */
export async function specCommits(
  meta: Meta,
  record: PipelineRecord,
  history: number,
  wait: Wait,
): Promise<string[]> {
  const ids = [record.specCommit];
  for (let id: string | undefined = record.specCommit; history < 0 || ids.length <= history;) {
    const kv = await meta.get(commitKey({ repo: SPEC_REPO, id }), wait);
    id = kv && (JSON.parse(kv.value.toString()) as CommitRecord).parent;
    if (id === undefined) break;
    ids.push(id);
  }
  return ids;
}

/** Pipelines as a client asks for them, newest first, each followed by its older specs. */
export async function* listPipelines(
  deps: ListDeps,
  request: ListPipelineRequest,
  wait: Wait,
): AsyncGenerator<PipelineInfo> {
  const keep = compileFilter(request.jqFilter);
  const name = request.pipeline?.name ?? '';
  const records =
    name === ''
      ? (await listRecords(deps.meta, wait)).map(({ record }) => record)
      : [await getRecord(deps.meta, name, wait)];
  for (let at = 0; at < records.length; at += PARALLEL) {
    const infos = await Promise.all(
      records.slice(at, at + PARALLEL).map((record) => withHistory(deps, record, request, wait)),
    );
    for (const info of infos.flat()) if (keep(info)) yield info;
  }
}

async function withHistory(
  deps: ListDeps,
  record: PipelineRecord,
  request: ListPipelineRequest,
  wait: Wait,
): Promise<PipelineInfo[]> {
  const commits = await specCommits(deps.meta, record, request.history, wait);
  const infos: PipelineInfo[] = [];
  for (const commit of commits) {
    try {
      infos.push(await atCommit(deps, record, commit, wait));
    } catch (error) {
      const unreadable = codeOf(error) === 'NOT_FOUND' || codeOf(error) === 'CORRUPT_DATA';
      if (!request.allowIncomplete || !unreadable) throw error;
      infos.push(toIncompletePipelineInfo(record));
    }
  }
  return infos;
}
