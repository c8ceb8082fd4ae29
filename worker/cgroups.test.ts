import { describe, expect, it } from 'vitest';
import { limitsText, unheldLimits } from './cgroups.js';
import type { CgroupHome } from './spawner-protocol.js';

describe('what holds on a worker', () => {
  it.each<[home: CgroupHome | undefined, text: string, told: boolean]>([
    [undefined, 'memory: watched, cpu: not enforced, disk: watched', true],
    [{ version: 1, memory: '/m' }, 'memory: cgroup v1, cpu: not enforced, disk: watched', true],
    [{ version: 1, cpu: '/c' }, 'memory: watched, cpu: cgroup v1, disk: watched', false],
    [
      { version: 2, memory: '/g', cpu: '/g' },
      'memory: cgroup v2, cpu: cgroup v2, disk: watched',
      false,
    ],
  ])('%o is told as it is', (home, text, told) => {
    expect(limitsText(home)).toBe(text);
    expect(unheldLimits(home, { cpus: 0.5 })).toBe(
      told ? 'cpu limit 0.5 is not enforced: this worker has no control group for it' : undefined,
    );
    expect(unheldLimits(home, {})).toBeUndefined();
  });
});
