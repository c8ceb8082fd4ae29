/** Calls to a benchmark's stack without the time that the CLI takes to start. */
import { chooseTarget } from '../../cli/client/address.js';
import { Client } from '../../cli/client/client.js';
import { NEVER } from '../../core/signals.js';
import { PutFileRequest } from '../../proto/generated/pfs.js';
import type { Stack } from './stack.js';

export function clientOf(stack: Stack): Client {
  const env = { HOME: stack.dir, PACHD_ADDRESS: `127.0.0.1:${stack.port}` };
  return new Client(chooseTarget(env), env, NEVER);
}

/** A commit on the branch master with one file. */
export async function commitFile(
  client: Client,
  repo: string,
  path: string,
  text: string,
): Promise<void> {
  const file = { commit: { repo: { name: repo }, id: 'master' }, path };
  await new Promise<void>((resolve, reject) => {
    const call = client.pfs.putFile((error) => (error ? reject(error) : resolve()));
    call.write(PutFileRequest.fromPartial({ file, value: Buffer.from(text) }));
    call.end();
  });
}
