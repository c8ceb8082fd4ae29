/** Asks a coordinator how it and its workers are. */
import { ClusterClient, StatusRequest, type StatusResponse } from '../../proto/generated/tusk.js';
import { parseAddress } from '../client/address.js';
import { Client } from '../client/client.js';
import type { Call } from '../grammar/command.js';

const DEADLINE_MS = 5_000;

export async function clusterStatus(call: Call, address: string): Promise<StatusResponse> {
  const { session } = call;
  const target = { address: parseAddress(address), source: 'the local stack', context: {} };
  const client = new Client(target, session.env, session.signal);
  const api = client.service(ClusterClient);
  try {
    return await client.unary(api.status, StatusRequest.fromPartial({}), DEADLINE_MS);
  } finally {
    api.close();
    client.pfs.close();
  }
}
