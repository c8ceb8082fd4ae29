/** Plans of jobs with very many datums: the first part comes early, the rest only adds to it. */
import { build } from 'esbuild';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { codeOf } from '../../core/errors.js';
import { silentLog } from '../../core/log.js';
import { NEVER } from '../../core/signals.js';
import { Input, PipelineInfo } from '../../proto/generated/pps.js';
import type { WorkDatum } from '../../queue/messages.js';
import { openStorage, writeRun, type RunOp, type Storage } from '../../storage/index.js';
import type { JobRecord } from '../pipelines/model.js';
import type { JobPlan } from './model.js';
import { makePlans, type MadePlan, type PlanInput } from './plan.js';
import { PlanPool, plansOf } from './plan-pool.js';
import { sortedManifestMaps } from './sorted-maps.js';
import { RootSource } from './source.js';

const wait = { signal: NEVER };
const DATUMS = 3_000;
let base = '';
let storage: Storage;
let source: RootSource;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'tusk-plans-'));
  const url = `dir://${join(base, 'objects')}`;
  storage = await openStorage({ url, epoch: 1, log: silentLog, clock: systemClock });
  const writer = storage.newWriter(wait);
  const content = await writer.writeBytes(Buffer.from('text'));
  await writer.flush(wait);
  const ops = Array.from({ length: DATUMS }, (_, seq): RunOp => {
    return { op: 'append', path: `/f${String(seq).padStart(6, '0')}`, seq, content };
  });
  const run = await writeRun(storage, ops, wait);
  const options = { ...wait, ordinal: 1, mode: 'put' as const };
  const root = await storage.trees.apply(undefined, [run], options);
  const name = { repo: 'in', branch: 'master', commit: 'c' };
  source = new RootSource(storage.trees, [{ ...name, root }]);
  await build({
    entryPoints: [fileURLToPath(new URL('./plan-thread.ts', import.meta.url))],
    outfile: join(base, 'plan-thread.cjs'),
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'cjs',
    external: ['@aws-sdk/*'],
    logLevel: 'error',
    define: { 'import.meta.url': '""' },
  });
});
afterAll(async () => {
  await storage[Symbol.asyncDispose]();
  await rm(base, { recursive: true, force: true });
});

function openPool(): PlanPool {
  const url = `dir://${join(base, 'objects')}`;
  return new PlanPool(join(base, 'plan-thread.cjs'), { url }, silentLog, () => 1, 1);
}

function input(more: Partial<PlanInput> = {}): PlanInput {
  const inputs = [{ repo: 'in', branch: 'master', commit: 'c' }];
  const pfs = { name: 'in', repo: 'in', branch: 'master', glob: '/*' };
  return {
    job: { id: 'a'.repeat(32), pipeline: 'p', version: 1, inputs } as unknown as JobRecord,
    info: PipelineInfo.fromPartial({ input: Input.fromPartial({ pfs }) }),
    salt: 'salt',
    source,
    history: undefined,
    slots: 20,
    earlyFrom: DATUMS / 2,
    ...more,
  };
}

async function all(from: PlanInput, before?: JobPlan, planPool?: PlanPool): Promise<JobPlan[]> {
  const deps = { storage, maps: sortedManifestMaps(storage), ...(planPool ? { planPool } : {}) };
  const plans: JobPlan[] = [];
  for await (const { plan } of plansOf(deps, from, wait, before)) plans.push(plan);
  return plans;
}

describe('the plan of a job with very many datums', () => {
  it('comes in two parts; the second one only adds', async () => {
    const [first, whole, ...more] = await all(input());
    expect(more).toEqual([]);
    expect(first).toMatchObject({ total: DATUMS, skipped: 0, partial: 20 });
    expect(whole).toMatchObject({ total: DATUMS, skipped: 0 });
    expect(whole).not.toHaveProperty('partial');
    expect(whole?.segments.slice(0, first?.segments.length)).toEqual(first?.segments);
    expect(whole?.tasks.slice(0, first?.tasks.length)).toEqual(first?.tasks);
    const datums = new Set<string>();
    for (const { ref } of whole?.segments ?? []) {
      for (const { id } of await storage.getJson<WorkDatum[]>(ref, wait)) datums.add(id);
    }
    expect(datums.size).toBe(DATUMS);
    const covered = (whole?.tasks ?? []).reduce((sum, [, from, to]) => sum + to - from, 0);
    expect(covered).toBe(DATUMS);
  });

  it('is the same from an owner that has other slots and takes over after the first part', async () => {
    const [first, whole] = await all(input());
    expect(await all(input({ slots: 3 }), first)).toEqual([whole]);
  });

  it('beside another job is the same from the thread, or none at all', async () => {
    await using pool = openPool();
    const [first] = await all(input());
    const beside = first?.segments ?? [];
    const [here] = await all(input({ beside }));
    expect(here).toMatchObject({ total: DATUMS, partial: 20 });
    const open = (here?.segments ?? []).reduce((sum, { count }) => sum + count, 0);
    expect(open).toBe(DATUMS - beside.reduce((sum, { count }) => sum + count, 0));
    expect(await all(input({ beside }), undefined, pool)).toEqual([here]);
    expect(await all(input({ beside, besideMax: open - 1 }), undefined, pool)).toEqual([]);
  });

  it('is the same from the thread, which stops when nobody wants it and starts again', async () => {
    await using pool = openPool();
    const here = await all(input());
    expect(await all(input(), undefined, pool)).toEqual(here);
    expect(await all(input({ slots: 3 }), here[0], pool)).toEqual(here.slice(1));
    const roots = (await pool.roots(input(), wait)) ?? [];
    const control = new AbortController();
    const unwanted = pool.plans(input(), roots, control).next();
    control.abort(new Error('enough'));
    await expect(unwanted).rejects.toThrow('enough');
    const lost = pool.plans(input(), roots, wait).next();
    await pool.terminateThread();
    expect(codeOf(await lost.catch((error: unknown) => error))).toBe('UNAVAILABLE');
    expect(await all(input(), undefined, pool)).toEqual(here);
  });

  it('passes on what went wrong in the thread', async () => {
    await using pool = openPool();
    const manifests = [{ ref: `blob/1/${'0'.repeat(64)}/10` }];
    const from = input({ history: { salt: 'salt', manifests } as never });
    const deps = { storage, maps: sortedManifestMaps(storage) };
    const here = await drain(makePlans(deps, from, wait)).catch((error: unknown) => error);
    const there = await drain(plansOf({ ...deps, planPool: pool }, from, wait)).catch(
      (error: unknown) => error,
    );
    expect(here).toBeInstanceOf(Error);
    expect(String(there)).toBe(String(here));
    expect(codeOf(there)).toBe(codeOf(here));
  });

  it('stays as it was begun when a garbage collection raises the epoch meanwhile', async () => {
    const [first, whole] = await all(input());
    const url = `dir://${join(base, 'objects')}`;
    await using later = await openStorage({ url, epoch: 2, log: silentLog, clock: systemClock });
    const deps = { storage: later, maps: sortedManifestMaps(later) };
    for await (const { plan } of plansOf(deps, input(), wait, first)) {
      expect(plan.spec).toEqual(first?.spec);
      expect(plan.segments).toEqual(whole?.segments);
    }
  });
});

async function drain(plans: AsyncIterable<MadePlan>): Promise<void> {
  for await (const made of plans) expect(made).toBeDefined();
}
