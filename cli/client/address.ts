/** Which server to talk to: environment, config file, a local stack, else the local default. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { invalidInput } from '../../core/errors.js';
import type { Env } from '../session.js';
import { activeContext, homeOf, readConfig, type Context } from './config-file.js';

export const DEFAULT_PORT = 30650;

export interface Address {
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
}

export interface Target {
  readonly address: Address;
  /** What chose it, for messages about failed connections. */
  readonly source: string;
  readonly context: Context;
}

/** `grpc[s]://host:port`; the scheme and the port may be left out. Throws INVALID_INPUT. */
export function parseAddress(text: string): Address {
  const scheme = /^([a-z]+):\/\//.exec(text)?.[1] ?? 'grpc';
  const secure = scheme === 'grpcs' || scheme === 'https';
  if (!secure && scheme !== 'grpc' && scheme !== 'http') {
    throw invalidInput(
      `invalid pachd address "${text}": unrecognized scheme "${scheme}"; use grpc:// or grpcs://`,
    );
  }
  const rest = text.replace(/^[a-z]+:\/\//, '').replace(/\/$/, '');
  if (/[@/?#\s]/.test(rest)) {
    throw invalidInput(
      `invalid pachd address "${text}": expected host:port without user, path or query`,
    );
  }
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(rest);
  const port = Number(match?.[2] ?? DEFAULT_PORT);
  if (!match || port > 65_535) {
    throw invalidInput(
      `invalid pachd address "${text}": expected host:port, like localhost:${DEFAULT_PORT}`,
    );
  }
  return { secure, host: match[1] as string, port };
}

export function formatAddress(address: Address): string {
  return `${address.secure ? 'grpcs' : 'grpc'}://${address.host}:${address.port}`;
}

/** The server to use, in the order of docs/cli.md. */
export function chooseTarget(env: Env): Target {
  const data = readConfig(env);
  const { name, context } = activeContext(env, data);
  const chosen = (text: string, source: string): Target => ({
    address: parseAddress(text),
    source,
    context,
  });
  const fromEnv = env['PACHD_ADDRESS'] || env['ADDRESS'];
  if (fromEnv) return chosen(fromEnv, env['PACHD_ADDRESS'] ? '$PACHD_ADDRESS' : '$ADDRESS');
  if (context.pachd_address) return chosen(context.pachd_address, `context "${name}"`);
  const forwarded = context.port_forwarders?.['pachd'];
  if (forwarded) return chosen(`localhost:${forwarded}`, `the port forwarder of context "${name}"`);
  const local = localStackAddress(env);
  return local
    ? chosen(local, 'the local stack')
    : chosen(`localhost:${DEFAULT_PORT}`, 'the default');
}

/** Address in the `stack.json` of a stack started by `tusk up` with the default data directory. */
function localStackAddress(env: Env): string | undefined {
  try {
    const text = readFileSync(join(homeOf(env), '.tusk', 'stack.json'), 'utf8');
    const stack = JSON.parse(text) as { address?: unknown };
    return typeof stack.address === 'string' ? stack.address : undefined;
  } catch {
    return undefined;
  }
}
