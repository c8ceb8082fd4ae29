/** list, inspect and restart datum. */
import { invalidInput } from '../../core/errors.js';
import {
  InspectDatumRequest,
  ListDatumRequest,
  RestartDatumRequest,
  type DatumInfo,
} from '../../proto/generated/pps.js';
import type { Call } from '../grammar/command.js';
import { DATUM_HEADER, datumPage, datumRow } from '../render/pps.js';
import { printList, rawFormat, RawWriter } from './output.js';
import { readSpecs } from './pipeline-spec.js';
import { ppsOf } from './pps-client.js';

export async function listDatum(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const format = rawFormat(call);
  const [job] = args;
  const spec = flags.text('file');
  if ((job === undefined) === (spec === '')) {
    throw invalidInput('give either a job id or a spec with --file, to say which datums to list');
  }
  const input = spec === '' ? undefined : (await readSpecs(session, spec))[0]?.input;
  if (spec !== '' && input === undefined) throw invalidInput(`${spec} describes no input`);
  const { client, pps } = await ppsOf(session);
  const request = ListDatumRequest.fromPartial({
    ...(job === undefined ? {} : { job: { id: job } }),
    pageSize: flags.number('pageSize'),
    page: flags.number('page'),
    ...(input === undefined ? {} : { input }),
    statusOnly: flags.bool('status-only'),
  });
  const datums = infosOf(client.stream(pps.listDatumStream, request));
  await printList(call, datums, {
    type: 'pps.DatumInfo',
    header: DATUM_HEADER,
    row: (info) => datumRow(info, session.paint),
    format,
  });
}

async function* infosOf(
  responses: AsyncIterable<{ datumInfo?: DatumInfo | undefined }>,
): AsyncGenerator<DatumInfo> {
  for await (const { datumInfo } of responses) if (datumInfo) yield datumInfo;
}

export async function inspectDatum(call: Call): Promise<void> {
  const { session, args } = call;
  const format = rawFormat(call);
  const { client, pps } = await ppsOf(session);
  const request = InspectDatumRequest.fromPartial({
    datum: { id: args[1] ?? '', job: { id: args[0] ?? '' } },
  });
  const info = await client.unary(pps.inspectDatum, request);
  if (format === 'text') session.out(datumPage(info));
  else await new RawWriter(session, 'pps.DatumInfo', format).write(info);
}

export async function restartDatum({ session, args }: Call): Promise<void> {
  const { client, pps } = await ppsOf(session);
  const request = RestartDatumRequest.fromPartial({
    job: { id: args[0] ?? '' },
    dataFilters: (args[1] ?? '').split(',').filter((text) => text !== ''),
  });
  await client.unary(pps.restartDatum, request);
}
