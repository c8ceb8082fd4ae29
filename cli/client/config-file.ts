/**
 * The configuration file v1 clients share: `$PACH_CONFIG`, else `/pachctl/config.json`, else
 * `~/.pachyderm/config.json`. Unknown keys are kept, so that old clients lose nothing. Written to a
 * temporary file and renamed.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { invalidInput, messageOf, notFound } from '../../core/errors.js';
import { makeDir } from '../../core/make-dir.js';
import type { Env } from '../session.js';

export interface Context {
  source?: number;
  pachd_address?: string;
  server_cas?: string;
  session_token?: string;
  active_transaction?: string;
  cluster_name?: string;
  auth_info?: string;
  namespace?: string;
  port_forwarders?: Record<string, number>;
  cluster_deployment_id?: string;
  [key: string]: unknown;
}

export interface ConfigData {
  user_id?: string;
  v1?: Context;
  v2: {
    active_context?: string;
    metrics?: boolean;
    contexts: Record<string, Context>;
    [key: string]: unknown;
  };
  [key: string]: unknown;
}

/** Where the file is, whether or not it exists. */
export function configPath(env: Env): string {
  const asked = env['PACH_CONFIG'];
  if (asked) return asked;
  const mounted = '/pachctl/config.json';
  return existsSync(mounted) ? mounted : join(homeOf(env), '.pachyderm', 'config.json');
}

export function homeOf(env: Env): string {
  return env['HOME'] ?? homedir();
}

/** The file's content, or that of a fresh one. Throws INVALID_INPUT when it can not be read. */
export function readConfig(env: Env): ConfigData {
  const file = configPath(env);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return fresh();
    throw invalidInput(`could not read the config file ${file}: ${messageOf(error)}`);
  }
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (error) {
    throw invalidInput(`could not parse the config file ${file}: ${messageOf(error)}`);
  }
  return migrated(data as Partial<ConfigData>);
}

function fresh(): ConfigData {
  return {
    user_id: randomUUID(),
    v2: { active_context: 'default', metrics: true, contexts: { default: {} } },
  };
}

/** The old `v1` section becomes the context `default` with source 1. */
function migrated(data: Partial<ConfigData>): ConfigData {
  const { v1, v2, ...rest } = data;
  if (v2) return { ...rest, v2: { ...v2, contexts: v2.contexts ?? {} } };
  const base = fresh();
  const contexts = { default: v1 ? { source: 1, ...v1 } : {} };
  return { ...rest, user_id: data.user_id ?? base.user_id, v2: { ...base.v2, contexts } };
}

export function writeConfig(env: Env, data: ConfigData): void {
  const file = configPath(env);
  if (!env['PACH_CONFIG']) makeDir(dirname(file), 0o755);
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, `${JSON.stringify(data, null, 2)}\n`, { mode: 0o600 });
    renameSync(temporary, file);
  } catch (error) {
    throw invalidInput(`could not write the config file ${file}: ${messageOf(error)}`);
  }
}

/** The active context: `$PACH_CONTEXT`, else the file's choice. */
export function activeContext(env: Env, data: ConfigData): { name: string; context: Context } {
  const asked = env['PACH_CONTEXT'];
  const name = asked || (data.v2.active_context ?? 'default');
  const context = data.v2.contexts[name];
  if (!context && asked) throw notFound(`context does not exist: ${name}`);
  return { name, context: context ?? {} };
}
