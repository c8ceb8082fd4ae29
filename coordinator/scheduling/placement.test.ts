import { describe, expect, it } from 'vitest';
import type { Needs } from '../pipelines/model.js';
import { slotsFor, whyNowhere, type Place, type Room } from './placement.js';

const GIB = 2 ** 30;
const place = (room: Partial<Room> = {}, slots = 8): Place => ({
  worker: 'w',
  slots,
  draining: false,
  room: {
    cpus: 4,
    memoryBytes: 8 * GIB,
    diskBytes: 100 * GIB,
    gpus: 0,
    gpuShare: 1,
    labels: {},
    ...room,
  },
});
const needs = (some: Partial<Needs>): Needs => ({
  cpus: 0,
  memoryBytes: 0,
  diskBytes: 0,
  gpus: 0,
  gpuType: '',
  nodeSelector: {},
  ...some,
});

describe('placement', () => {
  it('fits as many datums as the scarcest resource allows', () => {
    expect(slotsFor(undefined, place())).toBe(8);
    expect(slotsFor(needs({ memoryBytes: 3 * GIB }), place())).toBe(2);
    expect(slotsFor(needs({ cpus: 0.5, memoryBytes: 3 * GIB }), place({}, 1))).toBe(1);
    expect(slotsFor(needs({ cpus: 5 }), place())).toBe(0);
    expect(slotsFor(needs({ diskBytes: 60 * GIB }), place())).toBe(1);
    expect(slotsFor(needs({ diskBytes: 60 * GIB }), place({ diskBytes: 0 }))).toBe(8);
  });

  it('counts GPUs with their share, one datum never has the same one twice', () => {
    const two = place({ gpus: 2, gpuShare: 3 });
    expect(slotsFor(needs({ gpus: 1, gpuType: 'nvidia.com/gpu' }), two)).toBe(6);
    expect(slotsFor(needs({ gpus: 2 }), two)).toBe(3);
    expect(slotsFor(needs({ gpus: 3 }), two)).toBe(0);
    expect(slotsFor(needs({ gpus: 1, gpuType: 'amd.com/gpu' }), two)).toBe(0);
  });

  it('asks for every label of the selector', () => {
    const room = { labels: { zone: 'a', disk: 'ssd' } };
    expect(slotsFor(needs({ nodeSelector: { zone: 'a' } }), place(room))).toBe(8);
    expect(slotsFor(needs({ nodeSelector: { zone: 'b' } }), place(room))).toBe(0);
  });

  it('says why nobody can, with numbers', () => {
    const all = [place(), place({ labels: { zone: 'a' } })];
    expect(whyNowhere(needs({ cpus: 2 }), all)).toBeUndefined();
    expect(whyNowhere(needs({ cpus: 9 }), [])).toBeUndefined();
    expect(whyNowhere(needs({ gpus: 2, gpuType: 'nvidia.com/gpu' }), all)).toBe(
      'a datum asks for 2 GPUs of type nvidia.com/gpu; the most any worker has is 0',
    );
    expect(whyNowhere(needs({ memoryBytes: 64 * GIB }), all)).toBe(
      'a datum asks for 64Gi of memory; the most any worker has is 8Gi',
    );
    expect(whyNowhere(needs({ cpus: 9 }), all)).toMatch(/asks for 9 cpus; .* is 4$/);
    expect(whyNowhere(needs({ diskBytes: 200 * GIB }), all)).toMatch(/200Gi of disk; .* 100Gi$/);
    expect(whyNowhere(needs({ nodeSelector: { zone: 'b' } }), all)).toMatch(
      /labels zone=b .*--label zone=b/,
    );
    expect(whyNowhere(needs({ nodeSelector: { zone: 'a' }, gpus: 1 }), all)).toMatch(/1 GPUs/);
  });
});
