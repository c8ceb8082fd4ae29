/** Asks a coordinator for the values of secrets. They live in this process's memory and nowhere else. */
import { Metadata, type ServiceError } from '@grpc/grpc-js';
import { CLIENT_OPTIONS, insecure } from '../proto/channel.js';
import {
  ClusterClient,
  type SecretValue,
  type WorkerSecretsReply,
  type WorkerSecretsRequest,
} from '../proto/generated/tusk.js';
import { fromStatus } from '../proto/status.js';
import { addAbortListener } from '../core/signals.js';
import { codeOf, unavailable } from '../core/errors.js';
import type { Wait } from '../storage/types.js';

const DEADLINE_MS = 10_000;

/** Tries the addresses in turn. STATE_CONFLICT says what is missing; UNAVAILABLE when none answers. */
export async function askSecrets(
  addresses: readonly string[],
  request: WorkerSecretsRequest,
  wait: Wait,
): Promise<SecretValue[]> {
  let last: unknown = unavailable('no coordinator to ask for secrets');
  for (const address of addresses) {
    wait.signal.throwIfAborted();
    try {
      return await ask(address, request, wait);
    } catch (error) {
      last = error;
      const code = codeOf(error);
      if (code !== 'UNAVAILABLE' && code !== 'DEADLINE') throw error;
    }
  }
  throw last;
}

async function ask(
  address: string,
  request: WorkerSecretsRequest,
  { signal }: Wait,
): Promise<SecretValue[]> {
  const client = new ClusterClient(address, insecure(), CLIENT_OPTIONS);
  try {
    return await new Promise<SecretValue[]>((resolve, reject) => {
      const call = client.workerSecrets(
        request,
        new Metadata(),
        { deadline: performance.timeOrigin + performance.now() + DEADLINE_MS },
        (error: ServiceError | null, reply: WorkerSecretsReply) => {
          stop();
          if (error) reject(fromStatus(error));
          else resolve(reply.values);
        },
      );
      const stop = addAbortListener(signal, () => call.cancel());
    });
  } finally {
    client.close();
  }
}
