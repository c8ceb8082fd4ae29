/** An etcd that is stopped, killed, frozen, or robbed of its answers in the middle of a job. */
import { expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { NEVER } from '../../core/signals.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { disturb } from './job.js';

const AWAY_MS = 10_000;

it('stopped for 10 s', async () => {
  await disturb({}, async ({ etcd }) => {
    await etcd.stop();
    await systemClock.sleep(AWAY_MS, { signal: NEVER });
    await etcd.restart();
  });
});

it('killed and started again after 10 s', async () => {
  await disturb({}, async ({ etcd }) => {
    await etcd.kill9();
    await systemClock.sleep(AWAY_MS, { signal: NEVER });
    await etcd.restart();
  });
});

it('frozen for 10 s', async () => {
  await disturb({}, async ({ etcd }) => {
    etcd.pause();
    await systemClock.sleep(AWAY_MS, { signal: NEVER });
    etcd.resume();
  });
});

it('whose answers are lost again and again: what was done is not done twice', async () => {
  let proxy: TcpProxy | undefined;
  const over = new AbortController();
  let losing: Promise<void> = Promise.resolve();
  let lost = 0;
  try {
    await disturb(
      {
        etcdThrough: async ({ port }) => {
          proxy = await startTcpProxy({ port });
          return `http://127.0.0.1:${proxy.port}`;
        },
      },
      ({ client }) => {
        const through = proxy as TcpProxy;
        losing = (async () => {
          // Until the end, which is the change that must not be made twice.
          for (; !over.signal.aborted; lost += 1) {
            through.dropReplies();
            await systemClock.sleep(250, over);
            through.cut();
            through.resume();
            await systemClock.sleep(500, over);
          }
        })().catch(() => through.resume());
        void client.ended('copy').finally(() => over.abort());
        return Promise.resolve();
      },
    );
    expect(lost).toBeGreaterThan(1);
  } finally {
    over.abort();
    await losing;
    await proxy?.[Symbol.asyncDispose]();
  }
});
