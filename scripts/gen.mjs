#!/usr/bin/env node
// Generates proto/generated/ from proto/*.proto with protoc and ts-proto; descriptors.bin too. The result is committed:
// only who changes a .proto file needs protoc (Debian: protobuf-compiler, libprotobuf-dev).
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const OPTIONS = [
  'env=node',
  'esModuleInterop=true',
  'forceLong=number',
  'importSuffix=.js',
  'outputServices=grpc-js',
  'useOptionals=messages',
  'unrecognizedEnum=false',
  'useDate=false',
  'outputTypeRegistry=false',
  // The same text whichever protoc made it.
  'annotateFilesWithVersion=false',
];

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const source = join(root, 'proto');
const dir = join(source, 'generated');
const files = readdirSync(source).filter((name) => name.endsWith('.proto'));
try {
  execFileSync(
    'protoc',
    [
      `--plugin=${join(root, 'node_modules/.bin/protoc-gen-ts_proto')}`,
      `--ts_proto_out=${dir}`,
      `--ts_proto_opt=${OPTIONS.join(',')}`,
      `--proto_path=${source}`,
      ...files,
    ],
    { stdio: 'inherit' },
  );
  // For server reflection: protoc's own descriptors, whole, with everything they import.
  const health = createRequire(import.meta.url).resolve('grpc-health-check/package.json');
  execFileSync(
    'protoc',
    [
      `--descriptor_set_out=${join(dir, 'descriptors.bin')}`,
      '--include_imports',
      `--proto_path=${source}`,
      `--proto_path=${join(dirname(health), 'proto')}`,
      ...files,
      'health/v1/health.proto',
    ],
    { stdio: 'inherit' },
  );
} catch (error) {
  if (error.code !== 'ENOENT') throw error;
  console.error(
    'protoc not found; install it with: apt-get install -y protobuf-compiler libprotobuf-dev',
  );
  process.exit(1);
}
// ts-proto (2.x) types the empty BytesValue as a Uint8Array where env=node wants a Buffer.
for (const name of readdirSync(dir)) {
  if (!name.endsWith('.ts')) continue;
  const text = readFileSync(join(dir, name), 'utf8');
  const fixed = text.replaceAll('value ?? new Uint8Array(0)', 'value ?? Buffer.alloc(0)');
  writeFileSync(join(dir, name), fixed);
}
