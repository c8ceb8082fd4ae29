/** Very many workers: what a job costs a coordinator that a thousand of them have joined. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CLIENT_OPTIONS, insecure } from '../proto/channel.js';
import { ClusterClient, WorkerHello, type JoinEvent } from '../proto/generated/tusk.js';
import { clientOf, commitFile } from './lib/client.js';
import type { Row } from './lib/report.js';
import { openStack, type Stack } from './lib/stack.js';

const WORKERS = 1000;
const PIPELINES = 5;
const COMMITS = 5;
const BEAT_MS = 3_000;
const RATIO_MAX = 2;

/** Joins workers that offer slots and never pull a task; resolves when all know what to do. */
async function joinMany(address: string, count: number): Promise<Disposable> {
  const client = new ClusterClient(address, insecure(), CLIENT_OPTIONS);
  const streams = Array.from({ length: count }, (_, i) => {
    const stream = client.join();
    const told = new Promise<void>((resolve, reject) => {
      stream.on('data', (event: JoinEvent) => event.assignments && resolve());
      stream.on('error', reject);
    });
    const workerId = `far-${i}`;
    const hello = {
      workerId,
      host: workerId,
      slots: 2,
      cpus: 4,
      memoryBytes: 2 ** 32,
      gpuShare: 1,
    };
    stream.write({ hello: WorkerHello.fromPartial(hello) });
    return { stream, told };
  });
  const beat = setInterval(() => {
    const heartbeat = { busySlots: 0, running: [] };
    for (const { stream } of streams) stream.write({ heartbeat });
  }, BEAT_MS);
  await Promise.all(streams.map(({ told }) => told));
  return {
    [Symbol.dispose]: () => {
      clearInterval(beat);
      for (const { stream } of streams) {
        stream.removeAllListeners('error').on('error', () => undefined);
        stream.cancel();
      }
      client.close();
    },
  };
}

/** Seconds for some commits, one after the other, through all pipelines. */
async function someCommits(stack: Stack, round: string): Promise<number> {
  const client = clientOf(stack);
  const start = performance.now();
  for (let i = 0; i < COMMITS; i += 1) {
    await commitFile(client, 'data', `/${round}${i}`, `content ${i}`);
    await stack.tusk(['flush', 'job', 'data@master']);
  }
  return (performance.now() - start) / 1000;
}

/** Commits through 5 pipelines, with 1,000 more workers joined and without. */
export async function workers(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-workers-'));
  await using stack = await openStack({ workers: 4 });
  try {
    const spec = join(dir, 'spec.json');
    const request = (name: string) => ({
      pipeline: { name },
      transform: { cmd: ['true'] },
      input: { pfs: { repo: 'data', glob: '/*' } },
    });
    const specs = Array.from({ length: PIPELINES }, (_, i) => JSON.stringify(request(`p${i}`)));
    writeFileSync(spec, specs.join('\n'));
    await stack.tusk(['create', 'repo', 'data']);
    await stack.tusk(['create', 'pipeline', '-f', spec]);
    await someCommits(stack, 'warm');
    const alone = await someCommits(stack, 'alone');
    const joined = await joinMany(`127.0.0.1:${stack.port}`, WORKERS);
    const many = await someCommits(stack, 'many');
    joined[Symbol.dispose]();
    return [
      {
        what: `${COMMITS} commits through ${PIPELINES} pipelines, ${WORKERS.toLocaleString('en')} workers`,
        ours: `PutFile && tusk flush job, × ${COMMITS}, ${WORKERS.toLocaleString('en')} workers joined`,
        oursValue: `${many.toFixed(2)} s`,
        rival: 'the same with one worker',
        rivalValue: `${alone.toFixed(2)} s`,
        ratio: `${(many / alone).toFixed(2)} × its time`,
        limit: `≤ ${RATIO_MAX}`,
        ok: many / alone <= RATIO_MAX,
      },
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
