/** Real datums in real sandboxes: the worker's spawner, inputs, user code, outputs, logs. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { inflateRaw } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTaskBench, type BenchRun, type TaskBench } from '../support/task-bench.js';

const inflate = promisify(inflateRaw);
let bench: TaskBench;

beforeAll(async () => {
  bench = await openTaskBench();
});
afterAll(async () => {
  await bench[Symbol.asyncDispose]();
});

const sh = (...stdin: string[]) => ({ cmd: ['sh'], stdin });

describe('a datum', () => {
  it('gets its inputs, its environment, and gives its output', async () => {
    const tree = await bench.tree({ 'a/x y.txt': 'hello\n', 'a/z': '1', b: 'other' });
    const run = await bench.run({
      transform: {
        ...sh(
          'cd /pfs; find . | sort > /tmp/found; cp /tmp/found /pfs/out/',
          'cat "$in" > /pfs/out/copy; stat -c %a /pfs/in /pfs/in/a "$in" > /pfs/out/modes',
          'env | sort > /pfs/out/env; pwd > /pfs/out/cwd; mkdir -p /pfs/out/empty/dir',
        ),
        env: { MINE: 'v $(PPS_PIPELINE_NAME) $(NOPE) $$(X)', QUOTE: 'it\'s\na "line"' },
      },
      datums: [[{ name: 'in', path: '/a/x y.txt', tree }]],
    });
    expect(run.result).toMatchObject({ processed: 1, failed: 0, recovered: 0, hasMkdir: true });
    const out = await bench.output(run);
    expect(out['/found']).toBe('.\n./in\n./in/a\n./in/a/x y.txt\n./out\n');
    expect(out['/copy']).toBe('hello\n');
    expect(out['/modes']).toBe('700\n700\n644\n');
    expect(out['/env']).toContain('\nin=/pfs/in/a/x y.txt\n');
    expect(out['/env']).toContain('MINE=v p $(NOPE) $(X)\n');
    expect(out['/env']).toContain('QUOTE=it\'s\na "line"\n');
    for (const name of ['PACH_JOB_ID', 'PACH_OUTPUT_COMMIT_ID', 'PPS_SPEC_COMMIT', 'in_COMMIT']) {
      expect(out['/env']).toMatch(new RegExp(`^${name}=\\S+$`, 'm'));
    }
    expect(out['/env']).not.toMatch(/^(NODE_|TUSK|S3)/m);
    expect(out['/empty/dir']).toBe('(mkdir)');
  });

  it('sees its match alone, whole directories, the root, and empty files', async () => {
    const tree = await bench.tree({ 'd/1': 'one', 'd/e/2': 'two', f: 'x', void: '' });
    const dir = await bench.run({
      transform: sh('cd /pfs/in && find . -type f | sort > /pfs/out/all'),
      datums: [[{ name: 'in', path: '/d', tree }], [{ name: 'in', path: '/', tree }]],
    });
    const out = await bench.outputs(dir);
    expect(out[0]?.['/all']).toBe('./d/1\n./d/e/2\n');
    expect(out[1]?.['/all']).toBe('./d/1\n./d/e/2\n./f\n./void\n');
    const empty = await bench.run({
      transform: sh('wc -c < /pfs/in/f > /pfs/out/size; ls /pfs > /pfs/out/ls'),
      datums: [[{ name: 'in', path: '/f', tree, emptyFiles: true }]],
    });
    expect(await bench.output(empty)).toEqual({ '/size': '0\n', '/ls': 'in\nout\n' });
  });

  it('can not change its inputs, mount, or see the datum before it', async () => {
    const tree = await bench.tree({ f: 'same' });
    const run = await bench.run({
      transform: sh(
        'echo bad > /pfs/in/f; rm -f /pfs/in/f; mount -o remount,rw /pfs; echo bad > /pfs/in/f',
        'ls -A /tmp /dev/shm /pfs/out > /tmp/seen; cp /tmp/seen /pfs/out/seen-$(basename $HOME)',
        'echo t > /tmp/.left; echo t > /dev/shm/left; (sleep 300 &) ; nohup sleep 301 &',
        'ps -ef | grep -c "[s]leep 30[01]" > /pfs/out/sleeps',
        'exit 0',
      ),
      datums: [[{ name: 'in', path: '/f', tree }], [{ name: 'in', path: '/f', tree }]],
    });
    const out = await bench.outputs(run);
    for (const one of out) {
      expect(one['/seen-tmp']).toBe('/dev/shm:\n\n/pfs/out:\n\n/tmp:\nseen\n');
      expect(one['/sleeps']).toBe('2\n');
    }
    const again = await bench.run({
      transform: { cmd: ['cp', '/pfs/in/f', '/pfs/out/f'] },
      datums: [[{ name: 'in', path: '/f', tree }]],
    });
    expect(await bench.output(again)).toEqual({ '/f': 'same' });
  });

  it('runs a command without a shell, with an exact standard input and working directory', async () => {
    const tree = await bench.tree({ f: '' });
    const inputs = [[{ name: 'in', path: '/f', tree }]];
    const stdin = ["$HOME `id` 'q' \\n", '', 'EOF'];
    const run = await bench.run({
      transform: { cmd: ['tee', '/pfs/out/a b$c'], stdin, workingDir: '/usr' },
      datums: inputs,
    });
    expect(await bench.output(run)).toEqual({ '/a b$c': `${stdin.join('\n')}\n` });
    const builtin = await bench.run({ transform: { cmd: ['echo', '-n', '$x'] }, datums: inputs });
    expect(await bench.userLines(builtin)).toEqual(['$x']);
    const none = await bench.run({ transform: { cmd: ['no-such-program'] }, datums: inputs });
    expect((await bench.details(none))[0]?.reason).toMatch(
      /exit status 127: this worker has no command ".*" that can be run \(last output: .*not found/,
    );
  });

  it('takes input names that no shell would, and users', async () => {
    const tree = await bench.tree({ f: 'x' });
    const run = await bench.run({
      transform: { cmd: ['env'], user: 'nobody' },
      datums: [[{ name: 'my-in', path: '/f', tree }]],
    });
    const lines = await bench.userLines(run);
    expect(lines).toContain('my-in=/pfs/my-in/f');
    const who = await bench.run({
      transform: { ...sh('id -un; cat /pfs/in/d/f; echo y > /pfs/out/y'), user: 'nobody' },
      datums: [[{ name: 'in', path: '/', tree: await bench.tree({ 'd/f': 'read' }) }]],
    });
    expect(await bench.userLines(who)).toEqual(['nobody', 'read']);
    expect(await bench.output(who)).toEqual({ '/y': 'y\n' });
    const unknown = await bench.run({
      transform: { cmd: ['true'], user: 'nemo' },
      datums: [[{ name: 'in', path: '/f', tree }]],
    });
    expect(unknown.result).toMatchObject({
      failed: 1,
      firstFailure: { reason: 'user nemo not found' },
    });
  });
});

describe('a datum that fails', () => {
  const datums = async () => [[{ name: 'in', path: '/f', tree: await bench.tree({ f: 'x' }) }]];

  it('is tried again with a fresh /pfs, then fails with its last words', async () => {
    const run = await bench.run({
      transform: sh('ls /pfs/out | wc -l; echo o > /pfs/out/o; echo "why it failed" >&2; exit 3'),
      datums: await datums(),
      datumTries: 3,
    });
    expect(run.result).toMatchObject({ processed: 0, failed: 1 });
    expect(run.result.run).toBeUndefined();
    const [datum] = await bench.details(run);
    expect(datum).toMatchObject({ state: 'failed', tries: 3, outputs: 0 });
    expect(datum?.reason).toMatch(/exit status 3 .*why it failed/);
    const lines = await bench.lines(run);
    const text = lines.map(({ message }) => message);
    expect(text.filter((line) => line.startsWith('errored running user code after'))).toHaveLength(
      3,
    );
    expect(text.filter((line) => line === '0')).toHaveLength(3);
    expect(text).toContain(
      'failed processing datum: error running user code: exit status 3, retrying in 0s',
    );
    expect(text.at(-1)).toBe(
      'failed to process datum with error: error running user code: exit status 3',
    );
    expect(lines.map(({ line }) => line)).toEqual(lines.map((_, index) => index));
    expect(datum?.log).toEqual([0, lines.length]);
  });

  it('may end with an accepted code, or be recovered', async () => {
    const ok = await bench.run({
      transform: { ...sh('exit 42'), acceptReturnCode: [42] },
      datums: await datums(),
    });
    expect(ok.result).toMatchObject({ processed: 1, failed: 0 });
    const recovered = await bench.run({
      transform: {
        ...sh('echo half > /pfs/out/half; exit 1'),
        errCmd: ['sh'],
        errStdin: ['test -f /pfs/out/half'],
      },
      datums: await datums(),
      datumTries: 2,
    });
    expect(recovered.result).toMatchObject({
      processed: 0,
      failed: 0,
      recovered: 1,
    });
    expect(recovered.result.run).toBeUndefined();
  });

  it('is killed with everything it started when its time is over', async () => {
    const run = await bench.run({
      transform: sh('trap "" TERM INT; (trap "" TERM; sleep 321 &) ; sleep 322'),
      datums: await datums(),
      datumTries: 1,
      datumTimeoutMs: 300,
    });
    expect((await bench.details(run))[0]?.reason).toBe(
      'error running user code: context deadline exceeded: it ran longer than datum_timeout 300ms',
    );
    expect(bench.processes(/sleep 32[12]/)).toEqual([]);
    const next = await bench.run({ transform: { cmd: ['true'] }, datums: await datums() });
    expect(next.result.processed).toBe(1);
  });

  it('does not hurt the slot by killing whatever it can', async () => {
    const killing = await bench.run({
      transform: sh('kill -9 -1; kill -9 0; sleep 5'),
      datums: await datums(),
      datumTries: 2,
    });
    expect(killing.result.failed).toBe(1);
    const run = await bench.run({ transform: sh('echo fine'), datums: await datums() });
    expect(await bench.userLines(run)).toEqual(['fine']);
  });

  it('ends at once when its job is cancelled', async () => {
    const stop = new AbortController();
    const running = bench.run(
      { transform: sh('echo up; sleep 333'), datums: await datums() },
      { signal: stop.signal, onLive: () => stop.abort(new Error('cancelled by test')) },
    );
    await expect(running).rejects.toThrow('cancelled by test');
    expect(bench.processes(/sleep 333/)).toEqual([]);
  });
});

describe('output', () => {
  it('links into inputs become references: nothing is uploaded', async () => {
    const big = 'z'.repeat(3_000_000);
    const tree = await bench.tree({ 'd/big': big, 'd/s/small': 'small', top: 'top' });
    const run = await bench.run({
      transform: sh(
        'cd /pfs/out; ln -s /pfs/in/d/big file; ln -s ../in/d dir; ln -s /pfs/in/d/s/small twice',
        'ln -s /pfs/out/twice chain; ln -s /pfs/in/top t',
      ),
      datums: [[{ name: 'in', path: '/', tree }]],
    });
    expect(run.result.stats.uploadBytes).toBe(0);
    const out = await bench.output(run);
    expect(out['/file']).toBe(big);
    expect(out['/dir/big']).toBe(big);
    expect(out['/dir/s/small']).toBe('small');
    expect(out['/chain']).toBe('small');
    expect(out['/t']).toBe('top');
  });

  it('other links are followed; dangling ones and special files fail the datum', async () => {
    const tree = await bench.tree({ f: 'x' });
    const inputs = [[{ name: 'in', path: '/f', tree }]];
    const tmp = await bench.run({
      transform: sh('echo t > /tmp/t; ln -s /tmp/t /pfs/out/t; ln -s /etc/hostname /pfs/out/h'),
      datums: inputs,
    });
    expect((await bench.output(tmp))['/t']).toBe('t\n');
    expect((await bench.output(tmp))['/h']).toBe(readFileSync('/etc/hostname', 'utf8'));
    const fail = async (script: string): Promise<string> => {
      const run = await bench.run({ transform: sh(script), datums: inputs, datumTries: 1 });
      expect(run.result.run).toBeUndefined();
      return (await bench.details(run))[0]?.reason ?? '';
    };
    expect(await fail('ln -s /nowhere /pfs/out/x')).toMatch(
      /^error walking output: ENOENT: .* '\/nowhere'$/,
    );
    expect(await fail('ln -s /pfs/in/none /pfs/out/x')).toMatch(
      /^error walking output: ENOENT: .* '\/pfs\/in\/none'$/,
    );
    expect(await fail('ln -s b /pfs/out/a; ln -s a /pfs/out/b')).toBe(
      'error walking output: too many levels of symbolic links: /pfs/out/a',
    );
    expect(await fail('ln -s /etc /pfs/out/x')).toMatch(/^error walking output: /);
    expect(await fail('mkfifo /pfs/out/p')).toContain('cannot upload special file');
    expect(await fail('echo x > "/pfs/out/$(printf "\\377")"')).toContain(
      'file path is not valid utf-8',
    );
  });

  it('of several datums keeps its order; large files and many files arrive whole', async () => {
    const tree = await bench.tree({ 1: 'a', 2: 'b' });
    const run = await bench.run({
      transform: sh(
        'head -c 30000000 /dev/urandom > /pfs/out/big-$(basename $in); cp /pfs/out/big-* /tmp/',
        'sha256sum < /tmp/big-$(basename $in) | cut -c1-64 > /pfs/out/sum-$(basename $in)',
        'mkdir /pfs/out/m; for i in $(seq 300); do echo $i > /pfs/out/m/$i; done; cat $in >> /pfs/out/all',
      ),
      datums: [[{ name: 'in', path: '/1', tree }], [{ name: 'in', path: '/2', tree }]],
    });
    expect((await bench.details(run)).map(({ reason }) => reason)).toEqual([undefined, undefined]);
    const merged = await bench.merged(run);
    expect(merged['/all']).toBe('ab');
    expect(merged['/m/7']).toBe('7\n7\n');
    for (const name of ['1', '2']) {
      expect(bench.sha(merged[`/big-${name}`] ?? '')).toBe(merged[`/sum-${name}`]?.trim());
    }
  });
});

describe('the log', () => {
  it('has every line once, live and stored, also a lot of them and odd ones', async () => {
    const tree = await bench.tree({ f: 'x' });
    const run = await bench.run({
      transform: sh(
        'echo first; echo err > /dev/stderr; printf "no newline"',
        'seq 100000; printf "\\342\\200\\250sep\\r\\n"; head -c 100000 /dev/zero | tr "\\\\0" x',
      ),
      datums: [[{ name: 'in', path: '/f', tree }]],
    });
    const lines = await bench.userLines(run);
    expect(lines.slice(0, 2).sort()).toEqual(['err', 'first']);
    expect(lines).toContain('100000');
    expect(lines).toContain('\u2028sep');
    expect(lines.filter((line) => /^\d+$/.test(line))).toHaveLength(99_999);
    expect(lines.slice(-2).map((line) => line.length)).toEqual([65_536, 34_464]);
    expect(run.result.log).toBeDefined();
    expect((await inflate(await bench.logBytes(run))).toString().endsWith('}\n')).toBe(true);
  });

  it('names the files of a datum', async () => {
    const tree = await bench.tree({ f: 'x' });
    const run = await bench.run({
      transform: sh('echo hi'),
      datums: [[{ name: 'in', path: '/f', tree }]],
    });
    const line = (await bench.lines(run)).find(({ user }) => user);
    expect(line).toMatchObject({ message: 'hi', user: true, pipeline: 'p', task: 0, attempt: 1 });
    expect(line?.data).toEqual([{ path: '/f', hash: expect.stringMatching(/=$/) as string }]);
    expect(run.live.some(({ message }) => message === 'hi')).toBe(true);
  });
});

describe('bytes downloaded', () => {
  it('count each file of a datum once, however many tries it took', async () => {
    const tree = await bench.tree({ f: 'twelve bytes', 'd/e': '' });
    const datums = [[{ name: 'in', path: '/', tree }]];
    const run = await bench.run({ transform: sh('exit 1'), datums, datumTries: 3 });
    const [datum] = await bench.details(run);
    expect(datum).toMatchObject({ state: 'failed', tries: 3, stats: { downloadBytes: 12 } });
  });
});

describe('the cache', () => {
  it('serves what it has when the store is gone, and is bounded', async () => {
    const f = 'cached content\n'.padEnd(50_000, 'x');
    const tree = await bench.tree({ f, g: 'y'.repeat(2_000_000) });
    const inputs = [[{ name: 'in', path: '/', tree }]];
    const { counts } = bench.storage.objects;
    let before = 0;
    const run = async (): Promise<readonly [BenchRun, number]> => {
      before = counts.readBytes;
      const one = await bench.run({ transform: sh('head -1 /pfs/in/f'), datums: inputs });
      // The same figure whatever the cache had.
      expect(one.result.stats.downloadBytes).toBe(2_050_000);
      return [one, counts.readBytes - before];
    };
    expect((await run())[1]).toBeGreaterThanOrEqual(2_050_000);
    // Small files stay from the second time on.
    const [, again] = await run();
    expect(again).toBeGreaterThanOrEqual(50_000);
    expect(again).toBeLessThan(100_000);
    const [third, none] = await run();
    expect(none).toBeLessThan(50_000);
    expect(await bench.userLines(third)).toEqual(['cached content']);
  });

  it('leaves no directory of one datum to the next', async () => {
    const tree = await bench.tree({ 'a/b/c': 'x', 'a/d/e': 'y', f: 'z' });
    const run = await bench.run({
      transform: sh('cd /pfs; find . -path ./out -prune -o -print | sort > /tmp/l; cp /tmp/l out/'),
      datums: ['/a/b/c', '/a/d', '/f', '/a/d/e'].map((path) => [{ name: 'in', path, tree }]),
    });
    const lists = (await bench.outputs(run)).map((out) => out['/l']?.trim().split('\n').at(-1));
    expect(lists).toEqual(['./in/a/b/c', './in/a/d/e', './in/f', './in/a/d/e']);
    expect((await bench.outputs(run))[2]?.['/l']).toBe('.\n./in\n./in/f\n');
  });

  it('leaves nothing in the slot', async () => {
    const tree = await bench.tree({ 'a/b/c': 'x' });
    const run = await bench.run({
      transform: sh(
        'mkdir -p /pfs/out/x/y; chmod 0 /pfs/out/x/y; touch /pfs/out/f; chmod 0 /pfs/out/f',
      ),
      datums: [[{ name: 'in', path: '/', tree }]],
    });
    expect((await bench.details(run))[0]?.reason).toBeUndefined();
    expect(existsSync(join(bench.slotDir, 'pfs', 'in/a/b/c'))).toBe(false);
    expect(existsSync(join(bench.slotDir, 'out', 'x'))).toBe(false);
  });
});
