/** logs: what user code, the job's owner and the workers wrote. */
import { invalidInput } from '../../core/errors.js';
import { GetLogsRequest, type LogMessage } from '../../proto/generated/pps.js';
import type { Call } from '../grammar/command.js';
import { escapeAngles, SNAKE, toJson, type Json } from '../wire/to-json.js';
import { ppsOf } from './pps-client.js';

export async function logs(call: Call): Promise<void> {
  const { session, flags } = call;
  const pipeline = flags.text('pipeline');
  const job = flags.text('job');
  const datum = flags.text('datum');
  const master = flags.bool('master');
  const worker = flags.bool('worker');
  if (master && worker) throw invalidInput('use --master or --worker, not both');
  const { client, pps } = await ppsOf(session);
  const raw = flags.bool('raw');
  const serverLog = pipeline === '' && job === '';
  const request = GetLogsRequest.fromPartial({
    ...(pipeline === '' ? {} : { pipeline: { name: pipeline } }),
    ...(job === '' ? {} : { job: { id: job } }),
    dataFilters: flags.list('inputs'),
    master,
    ...(datum === '' ? {} : { datum: { id: datum, ...(job === '' ? {} : { job: { id: job } }) } }),
    follow: flags.bool('follow'),
    tail: flags.number('tail'),
    userOnly: !serverLog && !raw && !master && !worker,
    ...(flags.given('since') ? { since: sinceOf(flags.durationMs('since')) } : {}),
  });
  for await (const message of client.stream(pps.getLogs, request)) {
    if (raw) session.out(`${rawLine(message)}\n\n`);
    else if (serverLog || wanted(message, { master, worker })) session.out(text(message));
  }
}

function sinceOf(ms: number) {
  return { seconds: Math.trunc(ms / 1000), nanos: Math.trunc((ms % 1000) * 1e6) };
}

/** Without a mode flag the lines of user code; else those of the part that was asked for. */
function wanted(message: LogMessage, mode: { master: boolean; worker: boolean }): boolean {
  if (mode.master) return message.master;
  if (mode.worker) return !message.user && !message.master;
  return message.user;
}

function text(message: LogMessage): string {
  return message.message.endsWith('\n') ? message.message : `${message.message}\n`;
}

/** Compact JSON of the plain struct: snake_case, `ts` as seconds and nanoseconds. */
function rawLine(message: LogMessage): string {
  const json: Record<string, Json> = toJson(message, 'pps.LogMessage', SNAKE);
  if (message.ts) json['ts'] = { seconds: message.ts.seconds, nanos: message.ts.nanos };
  return escapeAngles(JSON.stringify(json));
}
