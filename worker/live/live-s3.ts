/** Inputs of a service that it reads through S3: its endpoint serves them as long as the process lives. */
import type { LiveSpec } from '../../queue/messages.js';
import { EMPTY_DATUM } from '../../queue/messages.js';
import type { Storage } from '../../storage/index.js';
import type { Wait } from '../../storage/types.js';
import { S3Session } from '../s3/session.js';
import type { TaskDeps } from '../task.js';

export interface LiveS3 extends AsyncDisposable {
  readonly env: Readonly<Record<string, string>>;
}

export async function openLiveS3(
  deps: Pick<TaskDeps, 'clock' | 'endpoints'>,
  slot: number,
  storage: Storage,
  { datum = EMPTY_DATUM }: LiveSpec,
  wait: Wait,
): Promise<LiveS3> {
  if (!datum.inputs.some(({ s3 }) => s3)) {
    return { env: {}, [Symbol.asyncDispose]: () => Promise.resolve() };
  }
  const endpoint = await deps.endpoints.of(slot);
  const writer = () => storage.newWriter(wait);
  const session = new S3Session({ clock: deps.clock, storage, writer }, datum, false);
  endpoint.serve(session);
  return { env: { S3_ENDPOINT: endpoint.url }, [Symbol.asyncDispose]: () => session.end() };
}
