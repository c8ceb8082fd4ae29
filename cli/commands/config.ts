/** config get, set, list, update and delete: the file shared with v1 clients. */
import { invalidInput, notFound, stateConflict } from '../../core/errors.js';
import { formatAddress, parseAddress } from '../client/address.js';
import { activeContext, readConfig, writeConfig, type Context } from '../client/config-file.js';
import type { Call } from '../grammar/command.js';
import { readAll } from './prompt.js';

const SOURCES = ['NONE', 'CONFIG_V1', 'HUB', 'IMPORTED'];

/** The commands are plain file work; being async keeps them alike. */
type Done = Promise<void>;

export async function getMetrics({ session }: Call): Done {
  await Promise.resolve();
  session.out(`${String(readConfig(session.env).v2.metrics ?? true)}\n`);
}

export async function setMetrics({ session, args }: Call): Done {
  await Promise.resolve();
  const [value] = args;
  if (value !== 'true' && value !== 'false') {
    throw invalidInput(`invalid metrics value ${JSON.stringify(value)}: use true or false`);
  }
  const data = readConfig(session.env);
  data.v2.metrics = value === 'true';
  writeConfig(session.env, data);
}

export async function getActiveContext({ session }: Call): Done {
  await Promise.resolve();
  const { name } = activeContext(session.env, readConfig(session.env));
  session.out(`${name === '' ? 'NONE' : name}\n`);
}

export async function setActiveContext({ session, args }: Call): Done {
  await Promise.resolve();
  const data = readConfig(session.env);
  existing(data.v2.contexts, args[0] ?? '');
  data.v2.active_context = args[0] ?? '';
  writeConfig(session.env, data);
}

export async function listContext({ session }: Call): Done {
  await Promise.resolve();
  const data = readConfig(session.env);
  const { name: active } = activeContext(session.env, data);
  session.out('ACTIVE\tNAME\n');
  for (const name of Object.keys(data.v2.contexts).sort()) {
    session.out(`${name === active ? '*' : ''}\t${name}\n`);
  }
}

export async function getContext({ session, args }: Call): Done {
  await Promise.resolve();
  const context = existing(readConfig(session.env).v2.contexts, args[0] ?? '');
  const { source, ...rest } = context;
  const named = source ? { source: SOURCES[source] ?? String(source) } : {};
  session.out(`${JSON.stringify({ ...named, ...rest }, null, 2)}\n`);
}

export async function setContext({ session, args, flags }: Call): Done {
  const name = args[0] ?? '';
  if (flags.given('kubernetes')) {
    throw invalidInput('--kubernetes is not supported: Tusk runs without Kubernetes');
  }
  const data = readConfig(session.env);
  if (data.v2.contexts[name] && !flags.bool('overwrite')) {
    throw stateConflict(`context already exists: ${name}; use --overwrite to replace it`);
  }
  session.out('Reading from stdin.\n');
  const text = (await readAll(session)).toString('utf8');
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw invalidInput(`malformed context: ${(error as Error).message}`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw invalidInput('malformed context: expected a JSON object');
  }
  const context = parsed as Context;
  const source = SOURCES.indexOf(String(context.source));
  if (source >= 0) context.source = source;
  if (context.pachd_address !== undefined) {
    context.pachd_address = formatAddress(parseAddress(context.pachd_address));
  }
  data.v2.contexts[name] = context;
  writeConfig(session.env, data);
}

const UPDATES: readonly (readonly [string, keyof Context])[] = [
  ['server-cas', 'server_cas'],
  ['cluster-name', 'cluster_name'],
  ['auth-info', 'auth_info'],
  ['namespace', 'namespace'],
];

export async function updateContext({ session, args, flags }: Call): Done {
  await Promise.resolve();
  const data = readConfig(session.env);
  const active = activeContext(session.env, data).name;
  const name = args[0] ?? active;
  if (args[0] === undefined) session.out(`editing the currently active context "${name}"\n`);
  const context = existing(data.v2.contexts, name);
  const set = (key: keyof Context, value: string): void => {
    if (value === '') delete context[key];
    else context[key] = value;
  };
  if (flags.given('pachd-address')) {
    const text = flags.text('pachd-address');
    set('pachd_address', text === '' ? '' : formatAddress(parseAddress(text)));
  }
  for (const [flag, key] of UPDATES) if (flags.given(flag)) set(key, flags.text(flag));
  if (flags.bool('remove-cluster-deployment-id')) delete context.cluster_deployment_id;
  writeConfig(session.env, data);
}

export async function deleteContext({ session, args }: Call): Done {
  await Promise.resolve();
  const data = readConfig(session.env);
  const name = args[0] ?? '';
  existing(data.v2.contexts, name);
  if (activeContext(session.env, data).name === name) {
    throw stateConflict('cannot delete an active context');
  }
  delete data.v2.contexts[name];
  writeConfig(session.env, data);
}

function existing(contexts: Record<string, Context>, name: string): Context {
  const context = contexts[name];
  if (!context) throw notFound(`context does not exist: ${name}`);
  return context;
}
