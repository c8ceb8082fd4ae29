/** The metadata store while its etcd is killed and frozen. */
import { expect, it } from 'vitest';
import { openMeta, type Meta } from '../../coordinator/meta/index.js';
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import { startEtcd } from '../support/etcd.js';
import { until } from '../support/until.js';

const signal = AbortSignal.timeout(280_000);
const wait = { signal };

const open = async (url: string): Promise<Meta> =>
  openMeta({ endpoints: [url], log: silentLog, clock: systemClock, prefix: '' });

it('kill -9 and restart: calls in between succeed, nothing is lost or doubled', async () => {
  await using server = await startEtcd();
  await using own = await open(server.url);
  await using informer = own.informer('n/', (value) => value.toString());
  await informer.ready(wait);
  let done = 0;
  const writers = Promise.all(
    Array.from({ length: 8 }, (_, w) =>
      (async () => {
        for (let i = 0; i < 100; i += 1) {
          await own.transact(
            async (t) => {
              const now = Number((await t.get('total'))?.value.toString() ?? '0');
              t.put('total', String(now + 1));
              t.create(`n/${w}/${i}`, '');
            },
            { signal, label: 'total' },
          );
          done += 1;
        }
      })(),
    ),
  );
  for (const at of [200, 400, 600]) {
    await until(`${at} are done`, () => done >= at, 60_000);
    await server.kill9();
    await server.restart();
  }
  await writers;
  expect((await own.get('total', wait))?.value.toString()).toBe('800');
  await informer.waitFor((i) => i.size === 800, wait);
});

it('SIGSTOP for 5 s: calls end well afterwards, no call hangs', async () => {
  await using server = await startEtcd();
  await using own = await open(server.url);
  await own.transact(async (t) => t.put('k', '0'), { signal, label: 'k' });
  server.pause();
  const reads = Promise.all(Array.from({ length: 5 }, () => own.get('k', wait)));
  const writes = Promise.all(
    Array.from({ length: 5 }, () =>
      own.transact(
        async (t) => t.put('k', String(Number((await t.get('k'))?.value.toString()) + 1)),
        { signal, label: 'k' },
      ),
    ),
  );
  await systemClock.sleep(5_000, wait);
  server.resume();
  expect(await reads).toHaveLength(5);
  await writes;
  expect((await own.get('k', wait))?.value.toString()).toBe('5');
});
