/** get object, get tag: bytes that clients of the object API stored. */
import { Object as ObjectMessage, ObjectAPIClient, Tag } from '../../proto/generated/pfs.js';
import type { Call } from '../grammar/command.js';
import { toStdout } from './get-file.js';

export async function getObject({ session, args }: Call): Promise<void> {
  const client = await session.client();
  const objects = client.service(ObjectAPIClient);
  const object = ObjectMessage.fromPartial({ hash: args[0] ?? '' });
  await toStdout(session, client.stream(objects.getObject, object));
}

export async function getTag({ session, args }: Call): Promise<void> {
  const client = await session.client();
  const objects = client.service(ObjectAPIClient);
  const tag = Tag.fromPartial({ name: args[0] ?? '' });
  await toStdout(session, client.stream(objects.getTag, tag));
}
