/** Plans of jobs with very many datums: the first part comes early, the rest only adds to it. */
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import { NEVER } from '../../core/signals.js';
import { Input, PipelineInfo } from '../../proto/generated/pps.js';
import type { WorkDatum } from '../../queue/messages.js';
import { batchOf, Storage, type MatchBatch, type WholeMatch } from '../../storage/index.js';
import { MemoryStore } from '../../storage/memory-store.js';
import type { TreeNode } from '../../storage/types.js';
import type { JobRecord } from '../pipelines/model.js';
import type { JobPlan } from './model.js';
import { makePlans, type MadePlan, type PlanInput } from './plan.js';
import { sortedManifestMaps } from './sorted-maps.js';
import { CommitSource } from './source.js';

const wait = { signal: NEVER };
const DATUMS = 21_000;
const storage = new Storage(new MemoryStore(), { epoch: 1, log: silentLog, clock: systemClock });
const deps = { storage, maps: sortedManifestMaps(storage) };

/** Many files of one size. */
class Many extends CommitSource {
  override async *matches(): AsyncGenerator<MatchBatch> {
    const all: WholeMatch[] = [];
    for (let i = 0; i < DATUMS; i += 1) {
      const hash = Buffer.alloc(32);
      hash.writeUInt32BE(i);
      const node: TreeNode = { type: 'file', size: 1, hash, pieces: [] } as unknown as TreeNode;
      all.push({ path: `/f${String(i).padStart(6, '0')}`, node, captures: [] });
    }
    yield await Promise.resolve(batchOf(all));
  }

  override root(): Promise<undefined> {
    return Promise.resolve(undefined);
  }
}

function input(more: Partial<PlanInput> = {}): PlanInput {
  const inputs = [{ repo: 'in', branch: 'master', commit: 'c' }];
  const pfs = { name: 'in', repo: 'in', branch: 'master', glob: '/*' };
  return {
    job: { id: 'a'.repeat(32), pipeline: 'p', version: 1, inputs } as unknown as JobRecord,
    info: PipelineInfo.fromPartial({ input: Input.fromPartial({ pfs }) }),
    salt: 'salt',
    source: new Many({} as ConstructorParameters<typeof CommitSource>[0], inputs),
    history: undefined,
    slots: 20,
    ...more,
  };
}

async function plansOf(from: PlanInput, before?: JobPlan): Promise<MadePlan[]> {
  const plans: MadePlan[] = [];
  for await (const made of makePlans(deps, from, wait, before)) plans.push(made);
  return plans;
}

describe('the plan of a job with very many datums', () => {
  it('comes in two parts; the second one only adds', async () => {
    const [first, whole, ...more] = (await plansOf(input())).map(({ plan }) => plan);
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
    const [first, whole] = (await plansOf(input())).map(({ plan }) => plan);
    const taken = await plansOf(input({ slots: 3 }), first);
    expect(taken.map(({ plan }) => plan)).toEqual([whole]);
  });
});
