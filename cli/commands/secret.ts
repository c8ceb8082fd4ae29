/** create, inspect, list and delete secret. Values are only ever sent, never shown. */
import { readFile } from 'node:fs/promises';
import { invalidInput } from '../../core/errors.js';
import {
  CreateSecretRequest,
  DeleteSecretRequest,
  InspectSecretRequest,
  type SecretInfo,
} from '../../proto/generated/pps.js';
import type { Call } from '../grammar/command.js';
import { fileErrorText } from '../put/file-error.js';
import { formatTime } from '../render/duration.js';
import { printList, timeStyle } from './output.js';
import { ppsOf } from './pps-client.js';
import { readAll } from './prompt.js';

const HEADER = ['NAME', 'TYPE', 'CREATED'];

export async function createSecret({ session, flags }: Call): Promise<void> {
  const source = flags.text('file');
  if (source === '') {
    throw invalidInput('name the file with the secret: create secret -f secret.json');
  }
  const file = source === '-' ? await readAll(session) : await read(source);
  const { client, pps } = await ppsOf(session);
  await client.unary(pps.createSecret, CreateSecretRequest.fromPartial({ file }));
}

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw invalidInput(fileErrorText('open', path, error));
  }
}

export async function inspectSecret(call: Call): Promise<void> {
  const { client, pps } = await ppsOf(call.session);
  const request = InspectSecretRequest.fromPartial({ secret: { name: call.args[0] ?? '' } });
  await print(call, [await client.unary(pps.inspectSecret, request)]);
}

export async function listSecret(call: Call): Promise<void> {
  const { client, pps } = await ppsOf(call.session);
  const { secretInfo } = await client.unary(pps.listSecret, {});
  await print(call, secretInfo);
}

async function print(call: Call, infos: readonly SecretInfo[]): Promise<void> {
  const time = timeStyle(call);
  await printList(call, infos, {
    type: 'pps.SecretInfo',
    header: HEADER,
    row: (info) => [info.secret?.name ?? '', info.type, formatTime(info.creationTimestamp, time)],
    format: 'text',
  });
}

export async function deleteSecret({ session, args }: Call): Promise<void> {
  const { client, pps } = await ppsOf(session);
  const request = DeleteSecretRequest.fromPartial({ secret: { name: args[0] ?? '' } });
  await client.unary(pps.deleteSecret, request);
}
