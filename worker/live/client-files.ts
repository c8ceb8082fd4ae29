/**
 * What code of a spout finds at /pachctl: the command line program under both of its names and a
 * config that leads to this cluster, so that `pachctl put file` works without further ado.
 */
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { entryPath } from '../../core/entry.js';
import { quote } from '../shell.js';

export const CLIENT_DIR = '/pachctl';

export interface ClientFiles {
  readonly mounts: readonly (readonly [from: string, to: string])[];
  readonly env: Readonly<Record<string, string>>;
}

/** Writes them into `dir`; `address` is the coordinator's `host:port`. */
export function clientFiles(dir: string, address: string): ClientFiles {
  mkdirSync(join(dir, 'bin'), { recursive: true, mode: 0o755 });
  mkdirSync(join(dir, 'lib'), { recursive: true, mode: 0o755 });
  mkdirSync(join(dir, 'node'), { recursive: true, mode: 0o755 });
  const config = {
    v2: {
      active_context: 'pipeline',
      contexts: { pipeline: { pachd_address: `grpc://${address}` } },
    },
  };
  const file = join(dir, 'config.json');
  writeFileSync(file, JSON.stringify(config, null, 2), { mode: 0o644 });
  const node = `${CLIENT_DIR}/node/${process.execPath.slice(dirname(process.execPath).length + 1)}`;
  for (const name of ['tusk', 'pachctl']) {
    const script = `#!/bin/sh\nexec ${quote(node)} ${CLIENT_DIR}/lib/cli.cjs "$@"\n`;
    writeFileSync(join(dir, 'bin', name), script);
    chmodSync(join(dir, 'bin', name), 0o755);
  }
  const lib = dirname(entryPath('cli'));
  return {
    mounts: [
      [dir, CLIENT_DIR],
      ...(existsSync(lib) ? [[lib, `${CLIENT_DIR}/lib`] as const] : []),
      // Whatever directory this Node lies in, user code sees it here.
      [dirname(process.execPath), `${CLIENT_DIR}/node`],
    ],
    env: { PACHD_ADDRESS: `grpc://${address}`, PACH_CONFIG: `${CLIENT_DIR}/config.json` },
  };
}
