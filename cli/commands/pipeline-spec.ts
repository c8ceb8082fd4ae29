/** create, update and extract pipeline: specs in, specs out. */
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { invalidInput } from '../../core/errors.js';
import {
  CreatePipelineRequest,
  InspectPipelineRequest,
  type PipelineInfo,
} from '../../proto/generated/pps.js';
import type { BuildOptions } from '../build/send.js';
import type { Call } from '../grammar/command.js';
import { parsePipelineRef } from '../grammar/refs.js';
import type { Session } from '../session.js';
import { kubernetesOnly } from '../spec/kubernetes.js';
import { parseSpecs } from '../spec/parse.js';
import { schema } from '../wire/schema.js';
import { fileErrorText } from '../put/file-error.js';
import { formatName, RawWriter } from './output.js';
import { ppsOf } from './pps-client.js';
import { readAll } from './prompt.js';

const URL = /^https?:\/\//;
const TYPE = 'pps.CreatePipelineRequest';

export const createPipeline = (call: Call): Promise<void> =>
  sendSpecs(call, { update: false, reprocess: false });
export const updatePipeline = (call: Call): Promise<void> =>
  sendSpecs(call, { update: true, reprocess: call.flags.bool('reprocess') });

/** One request per spec, in order; nothing is sent unless the whole text is well formed. */
async function sendSpecs(
  { session, flags }: Call,
  how: { update: boolean; reprocess: boolean },
): Promise<void> {
  if (flags.bool('build')) {
    throw invalidInput(
      '--build is not supported: build the image yourself and name it in transform.image, ' +
        'or let the cluster build the code: transform.build (docs/pipeline-spec.md)',
    );
  }
  const file = flags.text('file');
  const base = file === '-' || URL.test(file) ? '.' : dirname(file);
  await sendAll(session, await readSpecs(session, file), { ...how, base });
}

/** Sends specs in order, those whose code has to be built with their files. */
export async function sendAll(
  session: Session,
  specs: readonly CreatePipelineRequest[],
  { base, ...how }: BuildOptions,
): Promise<void> {
  const { client, pps } = await ppsOf(session);
  for (const spec of specs) {
    if (session.verbose) warnAboutTag(session, spec);
    warnAboutKubernetes(session, spec);
    if (spec.transform?.build) {
      const { sendBuilt } = await import('../build/send.js');
      await sendBuilt(session, spec, { ...how, base });
    } else await client.unary(pps.createPipeline, { ...spec, ...how });
  }
}

function warnAboutKubernetes(session: Session, spec: CreatePipelineRequest): void {
  const fields = kubernetesOnly(spec);
  if (fields.length === 0) return;
  const name = spec.pipeline?.name ?? '';
  session.note(
    `WARNING: pipeline ${name}: ${fields.join(', ')} only mean something on Kubernetes; ` +
      'kept, and without effect here',
  );
}

function warnAboutTag(session: Session, spec: CreatePipelineRequest): void {
  const image = spec.transform?.image ?? '';
  if (image !== '' && (!/:[^/]+$/.test(image) || image.endsWith(':latest'))) {
    session.note(`WARNING: image "${image}" has no fixed tag; a tag makes runs repeatable`);
  }
}

/** Reads and parses specs from a path, a URL or `-` (standard input). */
export async function readSpecs(
  session: Session,
  source: string,
): Promise<CreatePipelineRequest[]> {
  const text = await readSource(session, source);
  const name = source === '-' ? 'standard input' : source;
  return await parseSpecs(text, { source: name, warn: (line) => session.note(`WARNING: ${line}`) });
}

async function readSource(session: Session, source: string): Promise<string> {
  if (source === '-') {
    session.out('Reading from stdin.\n');
    return (await readAll(session)).toString('utf8');
  }
  if (URL.test(source)) {
    const response = await fetch(source, { signal: session.signal }).catch((error: unknown) => {
      throw invalidInput(`could not fetch ${source}: ${String((error as Error).cause ?? error)}`);
    });
    if (!response.ok)
      throw invalidInput(`could not fetch ${source}: ${response.status} ${response.statusText}`);
    return await response.text();
  }
  try {
    return await readFile(source, 'utf8');
  } catch (error) {
    throw invalidInput(fileErrorText('open', source, error));
  }
}

export async function extractPipeline(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const format = formatName(flags.text('output'));
  const { client, pps } = await ppsOf(session);
  const info = await client.unary(
    pps.inspectPipeline,
    InspectPipelineRequest.fromPartial({ pipeline: { name: parsePipelineRef(args[0] ?? '') } }),
  );
  await printSpecs(call, [info], format);
}

/** Prints specs that `create pipeline` accepts unchanged. */
export async function printSpecs(
  { session }: Call,
  infos: readonly PipelineInfo[],
  format: 'json' | 'yaml',
): Promise<void> {
  const writer = new RawWriter(session, TYPE, format);
  for (const info of infos) await writer.write(specOf(info));
}

/** The request that would make this pipeline again: all fields both messages have. */
export function specOf(info: PipelineInfo): CreatePipelineRequest {
  const from = info as unknown as Record<string, unknown>;
  const shared = schema().messages.get(TYPE)?.fields ?? [];
  const picked = shared
    .filter(({ camel }) => camel in from && camel !== 'specCommit')
    .map(({ camel }) => [camel, from[camel]] as const);
  return CreatePipelineRequest.fromPartial(
    Object.fromEntries(picked) as Partial<CreatePipelineRequest>,
  );
}
