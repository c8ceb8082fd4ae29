/** The metadata store against a real etcd; test/faults/meta.test.ts troubles that etcd. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import { openMeta, type Lease, type Meta } from '../../coordinator/meta/index.js';
import { startEtcd, type EtcdServer } from '../support/etcd.js';
import { startTcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';

const signal = AbortSignal.timeout(100_000);
const wait = { signal };
let etcd: EtcdServer;
let meta: Meta;

const open = async (url: string, prefix: string): Promise<Meta> =>
  openMeta({ endpoints: [url], log: silentLog, clock: systemClock, prefix });

beforeAll(async () => {
  etcd = await startEtcd({ fsync: false });
  meta = await open(etcd.url, 'main/');
});
afterAll(async () => {
  await meta[Symbol.asyncDispose]();
  await etcd[Symbol.asyncDispose]();
});

const put = async (key: string, value: string): Promise<void> =>
  meta.transact(async (t) => t.put(key, value), { signal, label: key });
const text = async (key: string): Promise<string | undefined> =>
  (await meta.get(key, wait))?.value.toString();

describe('reads', () => {
  it('range pages forwards and backwards within a prefix', async () => {
    await meta.transact(
      async (t) => {
        for (let i = 0; i < 2_500; i += 1) t.put(`page/${String(i).padStart(5, '0')}`, `${i}`);
        t.put('pagf', 'outside');
      },
      { signal, label: 'fill' },
    );
    const all = await meta.range('page/', wait);
    expect(all.kvs.map((kv) => Number(kv.value.toString()))).toEqual([...Array(2_500).keys()]);
    const back = await meta.range('page/', {
      signal,
      reverse: true,
      limit: 3,
      after: 'page/00100',
    });
    expect(back.kvs.map((kv) => kv.key)).toEqual(['page/00099', 'page/00098', 'page/00097']);
    expect(back.more).toBe(true);
    const next = await meta.range('page/', { signal, limit: 2, after: 'page/00100' });
    expect(next.kvs.map((kv) => kv.key)).toEqual(['page/00101', 'page/00102']);
    let count = 0;
    for await (const kv of meta.scan('page/', { signal, keysOnly: true })) {
      expect(kv.value.length).toBe(0);
      count += 1;
    }
    expect(count).toBe(2_500);
  });

  it('shows nothing of another prefix of the same etcd', async () => {
    await using other = await open(etcd.url, 'other/');
    await put('mine', 'yes');
    expect(await other.get('mine', wait)).toBeUndefined();
    expect((await other.range('', wait)).kvs.map((kv) => kv.key)).not.toContain('mine');
  });
});

describe('transact', () => {
  it('sees its own writes, deletes a prefix, keeps what it put below it', async () => {
    await meta.transact(
      async (t) => {
        for (const name of ['a', 'b', 'c']) t.put(`own/${name}`, name);
      },
      { signal, label: 'own' },
    );
    await meta.transact(
      async (t) => {
        t.deletePrefix('own/');
        expect(await t.get('own/a')).toBeUndefined();
        t.put('own/b', 'new');
        t.put('own/z', 'new');
        expect((await t.range('own/')).map((kv) => kv.key)).toEqual(['own/b', 'own/z']);
        expect(await t.keys('own/')).toEqual(['own/b', 'own/z']);
      },
      { signal, label: 'own' },
    );
    const { kvs } = await meta.range('own/', wait);
    expect(kvs.map((kv) => `${kv.key}=${kv.value.toString()}`)).toEqual(['own/b=new', 'own/z=new']);
  });

  it('writes nothing when the work fails', async () => {
    const failing = meta.transact(
      async (t) => {
        t.put('never', 'x');
        throw new Error('no');
      },
      { signal, label: 'fail' },
    );
    await expect(failing).rejects.toThrow('no');
    expect(await text('never')).toBeUndefined();
  });

  it('reads one snapshot, however long the work takes', async () => {
    await put('snap/a', '1');
    await put('snap/b', '1');
    let runs = 0;
    const seen = await meta.transact(
      async (t) => {
        runs += 1;
        const a = (await t.get('snap/a'))?.value.toString();
        if (runs === 1) {
          await meta.transact(
            async (u) => {
              u.put('snap/a', '2');
              u.put('snap/b', '2');
            },
            { signal, label: 'snap writer' },
          );
        }
        const b = (await t.get('snap/b'))?.value.toString();
        expect(a).toBe(b);
        t.put('snap/out', `${a}${b}`);
        return a;
      },
      { signal, label: 'snap reader' },
    );
    expect(runs).toBe(2);
    expect(seen).toBe('2');
    expect(await text('snap/out')).toBe('22');
  });

  it('notices keys added to and removed from a range it read', async () => {
    for (const change of ['add', 'remove'] as const) {
      await put('set/x', 'x');
      let runs = 0;
      await meta.transact(
        async (t) => {
          runs += 1;
          const keys = await t.keys('set/');
          if (runs === 1) {
            await meta.transact(
              async (u) => (change === 'add' ? u.put('set/y', 'y') : u.delete('set/x')),
              { signal, label: 'set writer' },
            );
          }
          t.putJson('set-size', keys.length);
        },
        { signal, label: 'set reader' },
      );
      expect(runs).toBe(2);
      await meta.transact(async (t) => t.deletePrefix('set/'), { signal, label: 'clean' });
    }
  });

  it('tells that a fence is broken instead of trying for ever', async () => {
    await put('fence', '1');
    const revision = (await meta.get('fence', wait))?.modRevision ?? 0;
    await put('fence', '2');
    const late = meta.transact(
      async (t) => {
        t.requireUnchanged('fence', revision);
        t.put('fenced-write', 'x');
      },
      { signal, label: 'late owner' },
    );
    await expect(late).rejects.toMatchObject({ code: 'STATE_CONFLICT', fields: { fenced: true } });
    expect(await text('fenced-write')).toBeUndefined();
  });

  it('gives up with STATE_CONFLICT when a required key stays away', async () => {
    const work = meta.transact(
      async (t) => {
        t.requireExists('missing-for-ever');
        t.put('x', 'y');
      },
      { signal, label: 'require' },
    );
    await expect(work).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  });

  it.each(['one label', 'own labels'])(
    '50 contenders on one key, %s: each exactly once',
    async (how) => {
      const key = `counter ${how}`;
      await Promise.all(
        Array.from({ length: 50 }, (_, i) =>
          meta.transact(
            async (t) => {
              const now = Number((await t.get(key))?.value.toString() ?? '0');
              t.put(key, String(now + 1));
            },
            { signal, label: how === 'one label' ? key : `${key} ${i}` },
          ),
        ),
      );
      expect(await text(key)).toBe('50');
    },
  );

  it('is quick: a plain put takes a few milliseconds', async () => {
    await put('warm', 'up');
    const start = performance.now();
    for (let i = 0; i < 100; i += 1) await put('quick', String(i));
    expect((performance.now() - start) / 100).toBeLessThan(20);
  });

  it('a cancelled caller gets its reason', async () => {
    const stop = new AbortController();
    const work = meta.transact(
      async (t) => {
        await t.get('a');
        stop.abort(new Error('enough'));
        await t.get('b');
      },
      { signal: stop.signal, label: 'cancel' },
    );
    await expect(work).rejects.toThrow('enough');
  });
});

describe('unknown outcome', () => {
  it('a change whose answer was lost is made once and reported as made', async () => {
    await using proxy = await startTcpProxy({ port: etcd.port });
    await using through = await open(`http://127.0.0.1:${proxy.port}`, 'main/');
    await through.transact(async (t) => t.put('lost', '0'), { signal, label: 'lost' });
    let runs = 0;
    const change = through.transact(
      async (t) => {
        runs += 1;
        const now = Number((await t.get('lost'))?.value.toString());
        t.put('lost', String(now + 1));
        if (runs === 1) proxy.dropReplies();
      },
      { signal, label: 'lost' },
    );
    await until('etcd has the change', async () => (await text('lost')) === '1');
    proxy.cut();
    proxy.resume();
    await change;
    expect(runs).toBe(1);
    expect(await text('lost')).toBe('1');
  });

  it('a change that never arrived is made once when the connection is back', async () => {
    await using proxy = await startTcpProxy({ port: etcd.port });
    await using through = await open(`http://127.0.0.1:${proxy.port}`, 'main/');
    await through.transact(async (t) => t.put('late', '0'), { signal, label: 'late' });
    let runs = 0;
    const change = through.transact(
      async (t) => {
        runs += 1;
        const now = Number((await t.get('late'))?.value.toString());
        t.put('late', String(now + 1));
        if (runs === 1) proxy.block('up');
      },
      { signal, label: 'late' },
    );
    await until('the work has run', () => runs === 1);
    proxy.cut();
    proxy.resume();
    await change;
    expect(await text('late')).toBe('1');
  });
});

describe('informers', () => {
  it('show the first listing and every change, in batches of transactions', async () => {
    await put('inf/a', '1');
    await using informer = meta.informer('inf/', (value) => value.toString());
    await informer.ready(wait);
    expect(informer.get('inf/a')).toBe('1');
    const batches: string[][] = [];
    informer.subscribe((changes) => {
      batches.push(changes.map((c) => `${c.key} ${c.previous ?? '-'}>${c.value ?? '-'}`));
    });
    await meta.transact(
      async (t) => {
        t.put('inf/a', '2');
        t.put('inf/b', '1');
      },
      { signal, label: 'inf' },
    );
    await informer.waitFor((i) => i.get('inf/b') === '1', wait);
    await meta.transact(async (t) => t.delete('inf/a'), { signal, label: 'inf' });
    await informer.waitFor((i) => !i.has('inf/a'), wait);
    expect(batches).toEqual([['inf/a 1>2', 'inf/b ->1'], ['inf/a 2>-']]);
  });

  it('catch up after history was compacted while the watch was down', async () => {
    await using proxy = await startTcpProxy({ port: etcd.port });
    await using through = await open(`http://127.0.0.1:${proxy.port}`, 'main/');
    await put('cut/a', '1');
    await put('cut/gone', '1');
    await using informer = through.informer('cut/', (value) => value.toString());
    await informer.ready(wait);
    await until('the watch runs', () => informer.live);
    proxy.refuse();
    proxy.cut();
    await put('cut/a', '2');
    await meta.transact(async (t) => t.delete('cut/gone'), { signal, label: 'cut' });
    await put('cut/b', '1');
    const { revision } = await meta.range('cut/', wait);
    await meta.compact(revision, wait);
    proxy.resume();
    await informer.waitFor((i) => i.get('cut/b') === '1', wait);
    expect([...informer.entries()].sort()).toEqual([
      ['cut/a', '2'],
      ['cut/b', '1'],
    ]);
  });

  it('say why a wait ended', async () => {
    const informer = meta.informer('nothing/', (value) => value.toString());
    const stop = new AbortController();
    const first = informer.waitFor(() => false, { signal: stop.signal });
    stop.abort(new Error('enough'));
    await expect(first).rejects.toThrow('enough');
    const second = informer.waitFor(() => false, wait);
    await informer[Symbol.asyncDispose]();
    await expect(second).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});

describe('leases', () => {
  /** Far above what a busy machine delays a keepalive by. */
  const TTL_MS = 5_000;
  const hold = async (of: Meta, key: string): Promise<Lease> => {
    const lease = await of.lease(TTL_MS, wait);
    await of.transact(async (t) => t.put(key, 'x', { lease: lease.id }), { signal, label: key });
    return lease;
  };

  it('keep their keys alive past the TTL; those cut off from etcd are lost before it drops them', async () => {
    await using proxy = await startTcpProxy({ port: etcd.port });
    await using through = await open(`http://127.0.0.1:${proxy.port}`, 'main/');
    const kept = await hold(meta, 'kept');
    await using cut = await hold(through, 'cut');
    await using informer = meta.informer('cut', (value) => value.toString());
    await informer.ready(wait);
    const order: string[] = [];
    cut.lost.addEventListener('abort', () => order.push('lost'));
    informer.subscribe(() => order.push('gone'));
    proxy.suspend();
    // Its key goes when the TTL has passed: longer than the other one would live by itself.
    await informer.waitFor((i) => !i.has('cut'), wait);
    expect(order).toEqual(['lost', 'gone']);
    expect(kept.lost.aborted).toBe(false);
    expect(await text('kept')).toBe('x');
    await kept.revoke();
    expect(kept.lost.aborted).toBe(true);
    expect(await text('kept')).toBeUndefined();
    proxy.cut();
    proxy.resume();
  });

  it('a put under a lease that has ended fails with STATE_CONFLICT', async () => {
    const lease = await meta.lease(1_000, wait);
    await lease.revoke();
    const late = meta.transact(async (t) => t.put('x', 'y', { lease: lease.id }), {
      signal,
      label: 'late',
    });
    await expect(late).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
  });
});

it('an etcd that is not there is named in the error', async () => {
  const options = { log: silentLog, clock: systemClock, budgetMs: 300 };
  const opening = openMeta({ ...options, endpoints: ['http://127.0.0.1:1'] });
  await expect(opening).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  await expect(opening).rejects.toThrow('127.0.0.1:1');
});
