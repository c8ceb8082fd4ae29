/** The secret rpcs of pps.API. Values go in here and never out again. */
import { invalidInput } from '../../core/errors.js';
import type { APIServer, SecretInfo } from '../../proto/generated/pps.js';
import { toTimestamp } from '../pipelines/index.js';
import type { SecretRecord, Secrets } from '../secrets/index.js';
import type { Handlers } from './handler.js';

export function secretHandlers(secrets: Secrets): Handlers<APIServer> {
  return {
    createSecret: async ({ file }, { signal, log }) => {
      const { name } = await secrets.create(file, { signal });
      log.info({ secret: name }, 'secret created');
      return {};
    },
    inspectSecret: async ({ secret }, { signal }) =>
      infoOf(await secrets.inspect(nameOf(secret), { signal })),
    listSecret: async (_request, { signal }) => ({
      secretInfo: (await secrets.list({ signal })).map(infoOf),
    }),
    deleteSecret: async ({ secret }, { signal, log }) => {
      await secrets.delete(nameOf(secret), { signal });
      log.info({ secret: secret?.name }, 'secret deleted');
      return {};
    },
  };
}

function nameOf(secret: { readonly name: string } | undefined): string {
  if (!secret) throw invalidInput('request.Secret cannot be nil');
  return secret.name;
}

function infoOf({ name, type, createdMs }: SecretRecord): SecretInfo {
  return { secret: { name }, type, creationTimestamp: toTimestamp(createdMs) };
}
