/** The pps service of the session's client. */
import { APIClient } from '../../proto/generated/pps.js';
import type { Client } from '../client/client.js';
import type { Session } from '../session.js';

export async function ppsOf(session: Session): Promise<{ client: Client; pps: APIClient }> {
  const client = await session.client();
  return { client, pps: client.service(APIClient) };
}
