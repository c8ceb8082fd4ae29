/** inspect, list, delete, start, stop and run pipeline; run cron. */
import { invalidInput, wrap } from '../../core/errors.js';
import {
  DeletePipelineRequest,
  InspectPipelineRequest,
  JobState,
  ListPipelineRequest,
  PipelineState,
  RunCronRequest,
  RunPipelineRequest,
  StartPipelineRequest,
  StopPipelineRequest,
} from '../../proto/generated/pps.js';
import type { Call } from '../grammar/command.js';
import { parseHistory, parsePipelineRef, parseProvenanceRef } from '../grammar/refs.js';
import { PIPELINE_HEADER, pipelineRow } from '../render/pps.js';
import { pipelinePage } from '../render/pps-pages.js';
import { printList, rawFormat, RawWriter, timeStyle } from './output.js';
import { printSpecs } from './pipeline-spec.js';
import { ppsOf } from './pps-client.js';

export async function inspectPipeline(call: Call): Promise<void> {
  const { session, args } = call;
  const format = rawFormat(call);
  const { client, pps } = await ppsOf(session);
  const info = await client.unary(
    pps.inspectPipeline,
    InspectPipelineRequest.fromPartial({ pipeline: { name: parsePipelineRef(args[0] ?? '') } }),
  );
  if (format === 'text') session.out(pipelinePage(info, timeStyle(call), session.paint));
  else await new RawWriter(session, 'pps.PipelineInfo', format).write(info);
}

/** `--state` as the filter the server understands. INVALID_INPUT for what is no state. */
export function stateFilter(call: Call, kind: 'pipeline' | 'job'): string {
  const prefix = `${kind.toUpperCase()}_`;
  const known = Object.values(kind === 'job' ? JobState : PipelineState).filter(
    (name) => typeof name === 'string',
  );
  const names = call.flags.list('state').map((state) => {
    const short = state.toUpperCase().replace(prefix, '');
    if (known.includes(`${prefix}${short}`)) return `${prefix}${short}`;
    const states = known.map((name) => name.replace(prefix, '').toLowerCase());
    throw invalidInput(`--state ${state}: no ${kind} state; expected ${states.join(', ')}`);
  });
  return names.map((name) => `.state == "${name}"`).join(' or ');
}

const TROUBLED: ReadonlySet<PipelineState> = new Set([
  PipelineState.PIPELINE_FAILURE,
  PipelineState.PIPELINE_CRASHING,
  PipelineState.PIPELINE_RESTARTING,
]);

export async function listPipeline(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const format = rawFormat(call, 'spec');
  const { client, pps } = await ppsOf(session);
  const request = ListPipelineRequest.fromPartial({
    ...(args[0] === undefined ? {} : { pipeline: { name: args[0] } }),
    history: parseHistory(flags.text('history')),
    allowIncomplete: true,
    jqFilter: stateFilter(call, 'pipeline'),
  });
  const { pipelineInfo } = await client.unary(pps.listPipeline, request);
  if (flags.bool('spec')) {
    await printSpecs(call, pipelineInfo, format === 'yaml' ? 'yaml' : 'json');
    return;
  }
  const time = timeStyle(call);
  await printList(call, pipelineInfo, {
    type: 'pps.PipelineInfo',
    header: PIPELINE_HEADER,
    row: (info) => pipelineRow(info, time, session.paint),
    format,
  });
  if (format === 'text' && pipelineInfo.some((info) => TROUBLED.has(info.state))) {
    session.note(
      `One or more pipelines have encountered errors, use '${session.program} inspect pipeline NAME' to see the reason.`,
    );
  }
}

export async function deletePipeline({ session, args, flags }: Call): Promise<void> {
  const [name] = args;
  const all = flags.bool('all');
  if (name !== undefined && all) throw invalidInput('cannot use the --all flag with an argument');
  if (name === undefined && !all) {
    throw invalidInput('either a pipeline name or the --all flag needs to be provided');
  }
  const { client, pps } = await ppsOf(session);
  const request = DeletePipelineRequest.fromPartial({
    ...(name === undefined ? {} : { pipeline: { name } }),
    all,
    force: flags.bool('force'),
    keepRepo: flags.bool('keep-repo'),
  });
  await client.unary(pps.deletePipeline, request);
}

export async function startPipeline({ session, args }: Call): Promise<void> {
  const { client, pps } = await ppsOf(session);
  const request = StartPipelineRequest.fromPartial({ pipeline: { name: args[0] ?? '' } });
  await client.unary(pps.startPipeline, request).catch(prefixed('error from StartPipeline'));
}

export async function stopPipeline({ session, args }: Call): Promise<void> {
  const { client, pps } = await ppsOf(session);
  const request = StopPipelineRequest.fromPartial({ pipeline: { name: args[0] ?? '' } });
  await client.unary(pps.stopPipeline, request).catch(prefixed('error from StopPipeline'));
}

/** Old clients put the name of the call in front of a few errors. */
export function prefixed(context: string): (error: unknown) => never {
  return (error) => {
    throw wrap(context, error);
  };
}

export async function runPipeline({ session, args, flags }: Call): Promise<void> {
  const [name = '', ...refs] = args;
  const { client, pps } = await ppsOf(session);
  const request = RunPipelineRequest.fromPartial({
    pipeline: { name },
    provenance: refs.map(parseProvenanceRef).map(({ repo, branch, commit }) => ({
      branch: { repo: { name: repo }, name: branch },
      commit: { repo: { name: repo }, id: commit },
    })),
    jobId: flags.text('job'),
  });
  await client.unary(pps.runPipeline, request);
}

export async function runCron({ session, args }: Call): Promise<void> {
  const { client, pps } = await ppsOf(session);
  const request = RunCronRequest.fromPartial({ pipeline: { name: args[0] ?? '' } });
  await client.unary(pps.runCron, request);
}
