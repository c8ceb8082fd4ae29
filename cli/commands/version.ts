/** version: of this program (as v1 clients count) and of the server. */
import type { Version } from '../../proto/generated/versionpb.js';
import type { Call } from '../grammar/command.js';
import { formatTable, WIDE } from '../render/table.js';
import { CLIENT_VERSION } from '../version.js';
import { rawJson } from './output.js';

export async function version(call: Call): Promise<void> {
  const { session, flags } = call;
  if (flags.bool('client-only')) {
    session.out(
      flags.bool('raw')
        ? rawJson(CLIENT_VERSION.message, 'versionpb.Version')
        : `${CLIENT_VERSION.text}\n`,
    );
    return;
  }
  const { APIClient } = await import('../../proto/generated/versionpb.js');
  const { Empty } = await import('../../proto/generated/google/protobuf/empty.js');
  const raw = flags.bool('raw');
  const client = await session.client();
  const timeout = flags.durationMs('timeout');
  // The client's row is shown also when the server does not answer.
  const header = ['COMPONENT', 'VERSION'];
  const [top = '', own = ''] = formatTable(header, [['pachctl', CLIENT_VERSION.text]], {
    geometry: WIDE,
  }).split('\n');
  if (!raw) session.out(`${top}\n${own}\n`);
  const server = await client.unary(
    client.service(APIClient).getVersion,
    Empty.fromPartial({}),
    timeout === 0 ? undefined : timeout,
  );
  if (raw) {
    session.out(rawJson(CLIENT_VERSION.message, 'versionpb.Version'));
    session.out(rawJson(server, 'versionpb.Version'));
    return;
  }
  const row = formatTable(header, [['pachd', versionText(server)]], { geometry: WIDE });
  session.out(`${row.split('\n')[1] ?? ''}\n`);
}

export function versionText(value: Version): string {
  return `${value.major}.${value.minor}.${value.micro}${value.additional}`;
}
