/** Datums given to a process that stays alive, against a process per datum. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Row } from './lib/report.js';
import { ROOT } from './lib/run.js';
import { openStack, type Stack } from './lib/stack.js';

/** The helper travels inside the command: a sandbox has a /tmp of its own. */
const SERVE = [
  readFileSync(join(ROOT, 'examples/warm/tusk_warm.py'), 'utf8'),
  'import shutil',
  'serve(lambda datum: shutil.copy(datum.env["in"], "/pfs/out/"))',
].join('\n');
const ONCE = 'import os, shutil\nshutil.copy(os.environ["in"], "/pfs/out/")';

async function rate(
  stack: Stack,
  o: { name: string; repo: string; code: string; warm: boolean; count: number; dir: string },
): Promise<number> {
  const spec = join(o.dir, `${o.name}.json`);
  const pipeline = {
    pipeline: { name: o.name },
    transform: { cmd: ['python3', '-c', o.code], ...(o.warm ? { datum_batching: true } : {}) },
    parallelism_spec: { constant: 20 },
    input: { pfs: { name: 'in', repo: o.repo, glob: '/*' } },
  };
  writeFileSync(spec, JSON.stringify(pipeline));
  const start = performance.now();
  await stack.tusk(['create', 'pipeline', '-f', spec]);
  await stack.tusk(['flush', 'job', `${o.repo}@master`, '-p', o.name]);
  const seconds = (performance.now() - start) / 1000;
  const { stdout } = await stack.tusk(['list', 'job', '-p', o.name]);
  if (!stdout.includes(`${o.count} + 0 / ${o.count}`)) throw new Error(`not all done:\n${stdout}`);
  return o.count / seconds;
}

/** The same Python handler, 20 slots: 10,000 datums on processes that stay, 1,000 on one each. */
export async function warm(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-warm-'));
  await using stack = await openStack({ workers: 20 });
  try {
    const put = async (repo: string, count: number): Promise<void> => {
      const files = join(dir, repo);
      mkdirSync(files, { recursive: true });
      for (let i = 0; i < count; i += 1) writeFileSync(join(files, `f${i}`), `datum ${i}\n`);
      await stack.tusk(['create', 'repo', repo]);
      await stack.tusk(['put', 'file', `${repo}@master:/`, '-r', '-f', files]);
    };
    await put('many', 10_000);
    await put('few', 1_000);
    const base = { dir, warm: false };
    const each = { ...base, name: 'each', repo: 'few', code: ONCE, count: 1_000 };
    const one = await rate(stack, each);
    const stay = { ...base, name: 'warm', repo: 'many', code: SERVE, count: 10_000, warm: true };
    const many = await rate(stack, stay);
    return [
      {
        what: 'small Python datums, processes that stay alive, 20 slots',
        ours: 'pipeline with transform.datum_batching, examples/warm/tusk_warm.py',
        oursValue: `${Math.round(many)} datums/s`,
        rival: 'the same pipeline with a process per datum',
        rivalValue: `${Math.round(one)} datums/s`,
        ratio: `${(many / one).toFixed(1)} × its rate`,
        limit: '≥ 1,000 datums/s',
        ok: many >= 1_000,
      },
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
