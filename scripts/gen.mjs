#!/usr/bin/env node
// Generates proto/generated/ from proto/*.proto (buf + ts-proto; works offline after install).
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
execFileSync(join(root, 'node_modules/.bin/buf'), ['generate'], { cwd: root, stdio: 'inherit' });
// ts-proto (2.x) types the empty BytesValue as a Uint8Array where env=node wants a Buffer.
const dir = join(root, 'proto/generated');
for (const name of readdirSync(dir)) {
  if (!name.endsWith('.ts')) continue;
  const text = readFileSync(join(dir, name), 'utf8');
  writeFileSync(
    join(dir, name),
    text.replaceAll('value ?? new Uint8Array(0)', 'value ?? Buffer.alloc(0)'),
  );
}
