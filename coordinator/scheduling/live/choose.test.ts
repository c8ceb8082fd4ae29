/** Which worker gets a service. */
import { describe, expect, it } from 'vitest';
import type { WorkerRecord } from '../model.js';
import { chooseWorker } from './choose.js';
import type { LiveRecord } from './model.js';

const worker = (name: string, more: Partial<WorkerRecord> = {}): WorkerRecord => ({
  worker: name,
  replica: 'r',
  host: `host-${name}`,
  slots: 2,
  gpus: 0,
  cpus: 2,
  memoryBytes: 1,
  labels: {},
  isolation: 'bwrap',
  version: '1',
  draining: false,
  ...more,
});
const placed = (pipeline: string, on: WorkerRecord, internal: number): LiveRecord => ({
  pipeline,
  kind: 'service',
  run: pipeline,
  specId: '',
  worker: on.worker,
  host: on.host,
  spec: '',
  ports: { internal, external: internal + 1 },
});
const wanted = { pipeline: 'p', labels: {}, ports: { internal: 80, external: 8080 } };
const nameOf = (chosen: WorkerRecord | string): string =>
  typeof chosen === 'string' ? chosen : chosen.worker;

describe('chooseWorker', () => {
  const [a, b] = [worker('a'), worker('b')];

  it('stays where it is', () => {
    for (const current of ['a', 'b']) {
      expect(nameOf(chooseWorker({ ...wanted, current }, [a, b], []))).toBe(current);
    }
  });

  it('goes where least is running', () => {
    expect(nameOf(chooseWorker(wanted, [a, b], [placed('x', a, 90)]))).toBe('b');
    expect(nameOf(chooseWorker(wanted, [a, b], [placed('x', b, 90)]))).toBe('a');
  });

  it('avoids hosts whose ports are given away, also another worker of that host', () => {
    const c = worker('c', { host: a.host });
    expect(nameOf(chooseWorker(wanted, [c, b], [placed('x', a, 80)]))).toBe('b');
    expect(nameOf(chooseWorker(wanted, [c], [placed('x', a, 80)]))).toBe(
      'no worker can run it: port 80 of host host-a belongs to pipeline x',
    );
  });

  it('wants labels, namespaces, and workers that stay', () => {
    const labels = { disk: 'ssd' };
    expect(nameOf(chooseWorker({ ...wanted, labels }, [a, worker('d', { labels })], []))).toBe('d');
    expect(nameOf(chooseWorker({ ...wanted, labels }, [a], []))).toContain('labelled disk=ssd');
    expect(nameOf(chooseWorker(wanted, [worker('e', { isolation: 'plain' })], []))).toContain(
      'bubblewrap',
    );
    expect(nameOf(chooseWorker(wanted, [worker('f', { draining: true })], []))).toContain(
      'leaving',
    );
    expect(nameOf(chooseWorker(wanted, [], []))).toContain('no worker has joined');
  });
});
