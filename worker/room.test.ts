import { describe, expect, it } from 'vitest';
import { Room, type Needs, type RoomSize } from './room.js';

const SIZE: RoomSize = { cpus: 4, memoryBytes: 1000, diskBytes: 0, gpus: [], gpuShare: 1 };
const needs = (some: Partial<Needs>): Needs => ({
  cpus: 0,
  memoryBytes: 0,
  diskBytes: 0,
  gpus: 0,
  ...some,
});

describe('room', () => {
  it('is full when the sum of what is asked for is reached', () => {
    const room = new Room(SIZE);
    const half = needs({ memoryBytes: 500, cpus: 0.1 });
    expect(room.fits(half, [[half, 1]])).toBe(true);
    expect(room.fits(half, [[half, 2]])).toBe(false);
    expect(room.fits(needs({ cpus: 3.9 }), [[half, 1]])).toBe(true);
    expect(room.fits(needs({ cpus: 4 }), [[half, 1]])).toBe(false);
    expect(room.fits(undefined, [[half, 9]])).toBe(true);
    expect(room.fits(needs({ diskBytes: 1e15 }), [])).toBe(true);
    expect(room.fits(needs({ gpus: 1 }), [])).toBe(false);
  });

  it('gives each datum GPUs of its own, and takes them back once', () => {
    const room = new Room({ ...SIZE, gpus: ['0', '1', '2'] });
    const two = room.take(needs({ gpus: 2 }));
    const one = room.take(needs({ gpus: 1 }));
    expect(two?.gpus).toEqual(['0', '1']);
    expect(one?.gpus).toEqual(['2']);
    expect(room.take(needs({ gpus: 1 }))).toBeUndefined();
    expect(room.take(undefined)?.gpus).toEqual([]);
    two?.release();
    two?.release();
    expect(room.take(needs({ gpus: 3 }))).toBeUndefined();
    one?.release();
    expect(room.take(needs({ gpus: 3 }))?.gpus).toHaveLength(3);
  });

  it('shares a GPU between as many datums as allowed, the idle ones first', () => {
    const room = new Room({ ...SIZE, gpus: ['a', 'b'], gpuShare: 2 });
    const ids = Array.from({ length: 4 }, () => room.take(needs({ gpus: 1 }))?.gpus[0]);
    expect(ids).toEqual(['a', 'b', 'a', 'b']);
    expect(room.take(needs({ gpus: 1 }))).toBeUndefined();
    expect(room.fits(needs({ gpus: 1 }), [[needs({ gpus: 1 }), 4]])).toBe(false);
  });
});
