/**
 * Creating and updating a pipeline: one transaction over the spec commit, the record, the output
 * repo and its branch, so that a pipeline exists whole or not at all.
 */
import { alreadyExists, codeOf, invalidInput } from '../../core/errors.js';
import { newUuid } from '../../core/ids.js';
import type { CreatePipelineRequest, PipelineInfo } from '../../proto/generated/pps.js';
import type { Wait } from '../../storage/types.js';
import type { MetaTxn } from '../meta/index.js';
import { createBranchIn, deleteBranchIn } from '../versioning/branches.js';
import { SPEC_REPO } from '../versioning/model.js';
import { createRepoIn } from '../versioning/repos.js';
import type { Scope } from '../versioning/scope.js';
import { parallelismOf, toSpec } from './defaults.js';
import { needsOf } from './needs.js';
import { inputBranches } from './inputs.js';
import { pipelineKey, type PipelineRecord } from './model.js';
import { createSourceReposIn, createTriggersIn } from './sources.js';
import { setStatsBranchIn } from './stats-branch.js';
import {
  closeOutputsIn,
  commitSpecIn,
  needInputReposIn,
  ensureMarkerIn,
  outputProvenance,
  setOutputBranchIn,
  specOf,
  type PipelineDeps,
} from './steps.js';
import { checkPipeline, checkRequest } from './validate.js';

/**
 * Creates a pipeline, or with `update` replaces its spec. Throws INVALID_INPUT for a bad spec,
 * NOT_FOUND for a missing input repo, ALREADY_EXISTS.
 */
export async function createPipeline(
  deps: PipelineDeps,
  request: CreatePipelineRequest,
  wait: Wait,
): Promise<void> {
  checkRequest(request);
  const record = await deps.meta.transact(
    async (t) => {
      const made = await createPipelineIn(deps, t, request, wait);
      await deps.versioning.propagateIn(t);
      return made;
    },
    { ...wait, label: request.update ? 'update a pipeline' : 'create a pipeline' },
  );
  deps.log.info(
    { pipeline: record.name, version: record.version, specCommit: record.specCommit },
    record.version === 1 ? 'pipeline created' : 'pipeline updated',
  );
}

/** As createPipeline, as one step of a larger transaction, which propagates once at its end. */
export async function createPipelineIn(
  deps: PipelineDeps,
  t: MetaTxn,
  request: CreatePipelineRequest,
  wait: Wait,
): Promise<PipelineRecord> {
  checkRequest(request);
  const scope = deps.versioning.scope(t);
  const name = request.pipeline?.name ?? '';
  const before = await t.getJson<PipelineRecord>(pipelineKey(name));
  if (request.specCommit) {
    if (before) throw notRecreated(request);
    const info = await storedSpec(deps, request, wait);
    return recreateIn(scope, info, request.specCommit.id);
  }
  const fresh = newUuid().replaceAll('-', '');
  const info = toSpec(request, {
    version: (before?.version ?? 0) + 1,
    nowMs: deps.clock.wallMs(),
    salt: before ? (request.reprocess ? fresh : before.salt) : request.salt || fresh,
    stopped: before?.stopped ?? false,
  });
  checkPipeline(info, request);
  if (before && !request.update) {
    throw alreadyExists(`pipeline ${name} already exists`, { fields: { pipeline: name } });
  }
  await createSourceReposIn(scope, info);
  await needInputReposIn(scope, info);
  await createTriggersIn(scope, info);
  return before
    ? updateIn(deps, scope, { before, info, reprocess: request.reprocess }, wait)
    : insertIn(deps, scope, info, wait);
}

/** A pipeline that is there is changed by its spec, not by a former one. */
function notRecreated({ pipeline, update }: CreatePipelineRequest): Error {
  const name = pipeline?.name ?? '';
  if (!update) return alreadyExists(`pipeline ${name} already exists`);
  return invalidInput(
    `invalid pipeline spec: spec_commit makes pipeline ${name} again after it was deleted; ` +
      `to go back to a former spec, update it with what 'extract pipeline ${name}^' prints`,
  );
}

/** The spec that the request names; what else it says is not looked at. */
async function storedSpec(
  { specs }: PipelineDeps,
  { pipeline, specCommit }: CreatePipelineRequest,
  wait: Wait,
): Promise<PipelineInfo> {
  const name = pipeline?.name ?? '';
  const repo = specCommit?.repo?.name || SPEC_REPO;
  const id = specCommit?.id ?? '';
  const info = await specs.load({ pipeline: name, specCommit: id }, wait);
  const owner = info.pipeline?.name ?? '';
  if (repo === SPEC_REPO && owner === name) return info;
  throw invalidInput(`spec commit ${repo}@${id} is not one of pipeline ${name}, but of ${owner}`);
}

/** From a spec commit that is there; heads that are there stay. */
async function recreateIn(
  scope: Scope,
  info: PipelineInfo,
  specCommit: string,
): Promise<PipelineRecord> {
  const name = info.pipeline?.name ?? '';
  await createSourceReposIn(scope, info);
  await needInputReposIn(scope, info);
  await createTriggersIn(scope, info);
  await ensureOutputRepoIn(scope, name);
  await createBranchIn(scope, { repo: SPEC_REPO, name, head: { repo: SPEC_REPO, id: specCommit } });
  return recordIn(scope, info, { specCommit, head: 'keep' });
}

async function insertIn(
  deps: PipelineDeps,
  scope: Scope,
  info: PipelineInfo,
  wait: Wait,
): Promise<PipelineRecord> {
  const name = info.pipeline?.name ?? '';
  await ensureOutputRepoIn(scope, name);
  const specBranch = { repo: SPEC_REPO, name };
  if (await scope.branch(specBranch)) await deleteBranchIn(scope, specBranch, { force: true });
  const specCommit = await commitSpecIn(deps, scope, info, wait);
  return recordIn(scope, info, { specCommit, head: 'clear' });
}

/** The record and the branches of a pipeline that was not there. */
async function recordIn(
  scope: Scope,
  info: PipelineInfo,
  how: { readonly specCommit: string; readonly head: 'keep' | 'clear' },
): Promise<PipelineRecord> {
  const name = info.pipeline?.name ?? '';
  const { specCommit, head } = how;
  const record: PipelineRecord = {
    name,
    ...ofSpec(info),
    specCommit,
    state: info.stopped ? 'PAUSED' : 'STARTING',
    reason: '',
    jobCounts: {},
    lastJobState: 'STARTING',
  };
  scope.t.putJson(pipelineKey(name), record);
  const output = { repo: name, name: info.outputBranch };
  const provenance = info.stopped ? [] : outputProvenance(info);
  await setOutputBranchIn(scope, output, { provenance, head, ...specOf(info) });
  await setStatsBranchIn(scope, info);
  await ensureMarkerIn(scope, info);
  return record;
}

async function updateIn(
  deps: PipelineDeps,
  scope: Scope,
  change: { before: PipelineRecord; info: PipelineInfo; reprocess: boolean },
  wait: Wait,
): Promise<PipelineRecord> {
  const { before, info, reprocess } = change;
  const { name } = before;
  if (!info.enableStats && (await hadStats(deps, before, wait))) {
    throw invalidInput(`pipeline ${name} update error: cannot disable stats`);
  }
  await ensureOutputRepoIn(scope, name);
  await closeOutputsIn(scope, name, { reason: 'pipeline has been updated' });
  const specCommit = await commitSpecIn(deps, scope, info, wait);
  const now = (await scope.t.getJson<PipelineRecord>(pipelineKey(name))) ?? before;
  const record: PipelineRecord = {
    ...withoutLive(now),
    ...ofSpec(info),
    specCommit,
    state: info.stopped ? 'PAUSED' : 'STARTING',
    reason: '',
  };
  scope.t.putJson(pipelineKey(name), record);
  if (before.outputBranch !== info.outputBranch) {
    const former = { repo: name, name: before.outputBranch };
    await setOutputBranchIn(scope, former, { provenance: [], head: 'keep' });
  }
  await setOutputBranchIn(
    scope,
    { repo: name, name: info.outputBranch },
    {
      provenance: info.stopped ? [] : outputProvenance(info),
      head: reprocess ? 'clear' : 'keep',
      ...specOf(info),
    },
  );
  await setStatsBranchIn(scope, info);
  await ensureMarkerIn(scope, info);
  return record;
}

/** A spec that can not be read must not stand in the way of a new one. */
async function hadStats(deps: PipelineDeps, before: PipelineRecord, wait: Wait): Promise<boolean> {
  try {
    const spec = { pipeline: before.name, specCommit: before.specCommit };
    return (await deps.specs.load(spec, wait)).enableStats;
  } catch (error) {
    const lost = codeOf(error) === 'NOT_FOUND' || codeOf(error) === 'CORRUPT_DATA';
    if (!lost) throw error;
    return false;
  }
}

/** The part of a record that a spec decides. */
function ofSpec(
  info: PipelineInfo,
): Omit<PipelineRecord, 'name' | 'specCommit' | 'state' | 'reason' | 'jobCounts' | 'lastJobState'> {
  const needs = needsOf(info);
  const created = info.createdAt ?? { seconds: 0, nanos: 0 };
  return {
    version: info.version,
    stopped: info.stopped,
    createdMs: created.seconds * 1000 + Math.round(created.nanos / 1e6),
    salt: info.salt,
    outputBranch: info.outputBranch,
    parallelism: parallelismOf(info),
    inputBranches: inputBranches(info.input),
    // Named even when absent: an update may take them away.
    needs,
    ...liveOf(info),
  };
}

/** What the former spec said must not stay when the new one says nothing. */
function withoutLive({ live: _live, ...rest }: PipelineRecord): Omit<PipelineRecord, 'live'> {
  return rest;
}

function liveOf(info: PipelineInfo): Pick<PipelineRecord, 'live'> {
  if (info.spout) return { live: 'spout' };
  return info.service ? { live: 'service' } : {};
}

async function ensureOutputRepoIn(scope: Scope, name: string): Promise<void> {
  if (await scope.repo(name)) {
    await scope.needRepo(name);
    return;
  }
  await createRepoIn(scope, { name, description: `Output repo for pipeline ${name}.` });
}
