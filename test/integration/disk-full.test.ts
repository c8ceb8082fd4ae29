import { buildSync } from 'esbuild';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
let dir = '';
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tusk-disk-full-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** Puts 32 MiB into a directory store and prints how that ended. */
const program = `
import { randomBytes } from 'node:crypto';
import { systemClock } from './core/clock.js';
import { codeOf, messageOf } from './core/errors.js';
import { silentLog } from './core/log.js';
import { openStorage } from './storage/index.js';
const signal = new AbortController().signal;
const url = 'dir://' + process.argv[2];
const storage = await openStorage({ url, epoch: 0, log: silentLog, clock: systemClock });
const writer = storage.newWriter({ signal });
try {
  const sink = writer.beginFile();
  for (let i = 0; i < 32; i += 1) await sink.write(randomBytes(1024 * 1024));
  await sink.end();
  await writer.flush({ signal });
  console.log('stored');
} catch (error) {
  console.log(codeOf(error) + ' ' + messageOf(error));
}
const small = await storage.newWriter({ signal }).writeBytes(Buffer.from('x'));
console.log(small.size);
`;

it('a full disk is told with the directory and what to do, and leaves no rubbish', async () => {
  const bundle = join(dir, 'put.mjs');
  buildSync({
    stdin: { contents: program, resolveDir: root, loader: 'ts' },
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    outfile: bundle,
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
  });
  const disk = join(dir, 'disk');
  await mkdir(disk);
  const script = 'mount -t tmpfs -o size=8m tmpfs "$0" && "$1" "$2" "$0" && ls "$0/tmp" | wc -l';
  const namespace = userInfo().uid === 0 ? ['-m'] : ['-U', '-r', '-m'];
  const args = [...namespace, 'sh', '-c', script, disk, process.execPath, bundle];
  const { stdout } = await run('unshare', args);
  const [outcome, small, leftovers] = stdout.trim().split('\n');
  expect(outcome).toContain('NO_SPACE no space left in');
  expect(outcome).toContain(disk);
  expect(outcome).toContain('free some disk space');
  expect(small).toBe('1');
  expect(leftovers?.trim()).toBe('0');
});
