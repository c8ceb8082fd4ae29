/** What user code finds, what it may leave in /pfs/out, and code that misbehaves. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTaskBench, type BenchInput, type TaskBench } from '../support/task-bench.js';

const sh = (...stdin: string[]) => ({ cmd: ['sh'], stdin });
let bench: TaskBench;
let one: BenchInput;

beforeAll(async () => {
  bench = await openTaskBench({ gpus: ['0', '1', '7'] });
  one = { name: 'in', path: '/f', tree: await bench.tree({ f: 'content\n' }) };
});
afterAll(async () => {
  await bench[Symbol.asyncDispose]();
});

const datums = (...inputs: BenchInput[]) => [inputs.length > 0 ? inputs : [one]];

async function reasonOf(script: string): Promise<string> {
  const run = await bench.run({ transform: sh(script), datums: datums() });
  return (await bench.details(run))[0]?.reason ?? 'no reason';
}

describe('/pfs/out', () => {
  it.each([
    ['a dangling link', 'ln -s /nowhere /pfs/out/x', /^error walking output: /],
    ['a link to itself', 'ln -s /pfs/out/x /pfs/out/x', /^error walking output: /],
    [
      'a link to a directory elsewhere',
      'ln -s /usr /pfs/out/x',
      /^error walking output: .*directory/,
    ],
    [
      'a named pipe',
      'mkfifo /pfs/out/p',
      /cannot upload special file: cannot upload named pipe: p$/,
    ],
    [
      'a socket',
      `python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("/pfs/out/s")'`,
      /cannot upload special file: cannot upload socket: s$/,
    ],
    ['a link to a device', 'ln -s /dev/null /pfs/out/d', /cannot upload special file/],
    [
      'a name that is no text',
      `echo x > "/pfs/out/$(printf '\\377')"`,
      /file path is not valid utf-8/,
    ],
    ['such a name in a directory', `mkdir "/pfs/out/$(printf 'a\\300')"`, /not valid utf-8/],
  ])('with %s fails the datum', async (_what, script, text) => {
    expect(await reasonOf(`${script} || exit 1`)).toMatch(text);
  });

  it('a device file can not be made, or is refused', async () => {
    expect(await reasonOf('mknod /pfs/out/dev c 1 3 || exit 9')).toMatch(
      /exit status 9|cannot upload special file/,
    );
  });

  it('takes names with characters of globs, spaces, newlines and of any language', async () => {
    const names = [
      'a*b?',
      '[x]{y}',
      'two words',
      'line\nbreak',
      'Zoë-日本',
      '-n',
      'q\'u"o',
      '\\back',
    ];
    const list = names.map((name) => `'${name.replaceAll("'", `'\\''`)}'`).join(' ');
    const run = await bench.run({
      transform: sh(`cd /pfs/out; for n in ${list}; do printf %s "$n" > "./$n"; done`),
      datums: datums(),
    });
    const out = await bench.output(run);
    expect(Object.keys(out).sort()).toEqual(names.map((name) => `/${name}`).sort());
    expect(Buffer.from(out['/Zoë-日本'] ?? '', 'latin1').toString()).toBe('Zoë-日本');
  });

  it('takes links by reference: relative, through other links, of directories, of empty files', async () => {
    const tree = await bench.tree({ 'd/x': 'x'.repeat(100), 'd/e/y': 'y', real: 'not empty' });
    const run = await bench.run({
      transform: sh(
        'cd /pfs/out; mkdir -p deep/er; ln -s ../../../in/d/x deep/er/rel; ln -s /pfs/in/d all',
        'ln -s all/e/y through; ln -s /pfs/none/real hollow; echo own > own; ln -s own also',
      ),
      datums: [
        [
          { name: 'in', path: '/', tree },
          { name: 'none', path: '/real', tree, emptyFiles: true },
        ],
      ],
    });
    expect((await bench.details(run))[0]?.reason).toBeUndefined();
    expect(await bench.output(run)).toEqual({
      '/deep/er/rel': 'x'.repeat(100),
      '/all/x': 'x'.repeat(100),
      '/all/e/y': 'y',
      '/through': 'y',
      '/hollow': 'not empty',
      '/own': 'own\n',
      '/also': 'own\n',
    });
    expect(run.result.stats.uploadBytes).toBe(8);
  });

  it('the last write of a datum wins, hard links are files', async () => {
    const run = await bench.run({
      transform: sh('cd /pfs/out; echo 1 > a; echo 2 > a; ln a b; cp $in c; chmod 000 c'),
      datums: datums(),
    });
    expect(await bench.output(run)).toEqual({ '/a': '2\n', '/b': '2\n', '/c': 'content\n' });
  });
});

describe('the environment', () => {
  it('expands what was set before, and has the last word over the spec', async () => {
    const tree = await bench.tree({ a: '1', b: '2' });
    const run = await bench.run({
      transform: {
        cmd: ['env'],
        env: {
          A: 'a',
          B: '$(A)b $(PATH) $(LATER)',
          LATER: '$(PPS_PIPELINE_NAME)',
          PACH_JOB_ID: 'mine',
          'my-group': 'mine',
        },
      },
      // A group: several files of one input.
      datums: datums(
        { name: 'my-group', path: '/a', tree },
        { name: 'my-group', path: '/b', tree },
      ),
    });
    const env = new Map(
      (await bench.userLines(run)).map((line): [string, string] => {
        const at = line.indexOf('=');
        return [line.slice(0, at), line.slice(at + 1)];
      }),
    );
    expect(env.get('B')).toBe('ab /usr/local/bin:/usr/bin:/bin $(LATER)');
    expect(env.get('LATER')).toBe('p');
    expect(env.get('my-group')).toBe('/pfs/my-group/b');
    expect(env.get('my-group_COMMIT')).toBe('c0ffee');
    expect(env.get('PACH_JOB_ID')).not.toBe('mine');
    expect(env.get('PACH_OUTPUT_COMMIT_ID')).toBe('outcommit');
    expect(env.get('PACH_DATUM_ID')).toMatch(/^[0-9a-f]{64}$/);
    expect(env.get('PPS_SPEC_COMMIT')).toBe('speccommit');
    expect(env.get('PPS_POD_NAME')).toBe('w1');
    for (const name of ['PPS_NAMESPACE', 'PACH_NAMESPACE']) expect(env.get(name)).toBe('default');
    expect(env.get('PACH_IN_WORKER')).toBe('true');
  });

  it('names the GPUs a datum has, and none for the others', async () => {
    const transform = sh('echo "$CUDA_VISIBLE_DEVICES|$NVIDIA_VISIBLE_DEVICES|$CUDA_DEVICE_ORDER"');
    const spec = { transform, datums: datums() };
    const two = await bench.run({ ...spec, gpus: 2 }, { gpus: ['1', '7'] });
    expect(await bench.userLines(two)).toEqual(['1,7|1,7|PCI_BUS_ID']);
    const none = await bench.run(spec);
    expect(await bench.userLines(none)).toEqual(['|void|PCI_BUS_ID']);
  });

  it('runs in the working directory as the user, with name or number and a group', async () => {
    const who = async (user: string): Promise<string[]> =>
      bench.userLines(
        await bench.run({
          transform: {
            ...sh('id -u; id -gn; pwd; echo w > /pfs/out/w'),
            user,
            workingDir: '/usr/bin',
          },
          datums: datums(),
        }),
      );
    expect(await who('nobody')).toEqual(['65534', 'nogroup', '/usr/bin']);
    expect(await who('65534')).toEqual(['65534', 'nogroup', '/usr/bin']);
    expect(await who('nobody:daemon')).toEqual(['65534', 'daemon', '/usr/bin']);
    const relative = await bench.run({
      transform: { cmd: ['./true'], workingDir: '/usr/bin' },
      datums: datums(),
    });
    expect(relative.result.processed).toBe(1);
    const nowhere = await bench.run({
      transform: { cmd: ['true'], workingDir: '/nowhere' },
      datums: datums(),
    });
    expect((await bench.details(nowhere))[0]?.reason).toMatch(/exit status \d+ .*\/nowhere/);
  });

  it('says in the log what the worker does', async () => {
    const run = await bench.run({ transform: sh('exit 4'), datums: datums(), datumTries: 2 });
    const text = (await bench.lines(run)).filter(({ user }) => !user).map(({ message }) => message);
    const shapes = text.map((line) =>
      line.replace(/\d+(\.\d+)?(ms|µs|s)(?=$|:)/, 'T').replace('in T', 'in 0s'),
    );
    const attempt = [
      'starting to download data',
      'finished downloading data after T',
      'beginning to run user code',
      'errored running user code after T: exit status 4',
    ];
    const error = 'error running user code: exit status 4';
    expect(shapes).toEqual([
      ...attempt,
      `failed processing datum: ${error}, retrying in 0s`,
      ...attempt,
      `failed to process datum with error: ${error}`,
    ]);
    const good = await bench.run({ transform: sh('true'), datums: datums() });
    const words = (await bench.lines(good)).map(({ message }) => message).join('\n');
    expect(words).toMatch(/finished running user code after [\s\S]*starting to upload output\n/);
    expect(words).toMatch(/finished uploading output after /);
  });
});

describe('code that misbehaves', () => {
  it('leaves nothing behind: sessions, double forks, ignored signals', async () => {
    const run = await bench.run({
      transform: sh(
        'setsid sh -c \'trap "" TERM HUP; sleep 411\' & (setsid sleep 412 &) &',
        `python3 -c 'import os,time`,
        'if os.fork() == 0:',
        '  os.setsid()',
        '  if os.fork() == 0: time.sleep(413)',
        `  os._exit(0)'`,
        'sleep 0.1; ps -e -o args | grep -c "[s]leep 41\\|[s]leep(413"',
      ),
      datums: datums(),
    });
    expect(run.result.processed).toBe(1);
    expect(Number((await bench.userLines(run))[0])).toBeGreaterThanOrEqual(3);
    expect(bench.processes(/sleep 41[12]|sleep\(413/)).toEqual([]);
  });

  it('fails alone with directories deeper than any path, and the slot works on', async () => {
    const name = 'd'.repeat(240);
    const deep = [
      `cd /pfs/out; mkdir "$(printf 'no\\377text')"; cd no*`,
      `for i in $(seq 40); do mkdir ${name}; cd ${name}; done`,
      'echo deep > f; mkdir closed; echo x > closed/y; chmod 0 closed',
    ];
    const run = await bench.run({ transform: sh(...deep), datums: datums(), datumTries: 2 });
    const [datum] = await bench.details(run);
    expect(datum).toMatchObject({ state: 'failed', tries: 2 });
    expect(datum?.reason).toMatch(/^file path is not valid utf-8: /);
    const [, ...rest] = deep;
    const long = await bench.run({
      transform: sh('cd /pfs/out', ...rest),
      datums: datums(),
      datumTries: 1,
    });
    const reason = (await bench.details(long))[0]?.reason ?? '';
    expect(reason).toMatch(/^error walking output: .*name too long.*\/pfs\/out\/ddd/);
    expect(reason.length).toBeLessThan(500);
    const next = await bench.run({ transform: sh('cp $in /pfs/out/'), datums: datums() });
    expect(await bench.output(next)).toEqual({ '/f': 'content\n' });
  });

  it('fails, naming the file, with an input that no file system can hold', async () => {
    const name = 'n'.repeat(300);
    const tree = await bench.tree({ [name]: 'x', [`${name}d/f`]: 'y', ok: 'z' });
    const inputs = ['/', `/${name}`, '/ok'].map((path) => [{ name: 'in', path, tree }]);
    const run = await bench.run({ transform: sh('true'), datums: inputs, datumTries: 1 });
    const results = await bench.details(run);
    expect(results.map(({ state }) => state)).toEqual(['failed', 'failed', 'success']);
    for (const { reason } of results.slice(0, 2)) {
      expect(reason).toMatch(/^input \/pfs\/in\/n+… can not be given to user code: its name, /);
    }
  });

  it('that kills all there is to kill fails alone, and says so', async () => {
    const run = await bench.run({
      transform: sh('kill -9 $PPID; kill -9 -1; sleep 60'),
      datums: datums(),
      datumTries: 1,
    });
    expect((await bench.details(run))[0]?.reason).toBe(
      'error running user code: all its processes were killed: by the code itself, or by the ' +
        'system when memory ran out',
    );
    const next = await bench.run({ transform: sh('cp $in /pfs/out/'), datums: datums() });
    expect(await bench.output(next)).toEqual({ '/f': 'content\n' });
  });

  it('shuts /pfs/out for itself only', async () => {
    const out = join(bench.slotDir, 'out');
    const before = statSync(out).mode;
    const shut = await bench.run({ transform: sh('chmod 0 /pfs/out'), datums: datums() });
    expect(shut.result.processed).toBe(1);
    expect(statSync(out).mode).toBe(before);
    const user = { ...sh('cp $in /pfs/out/'), user: 'nobody' };
    const next = await bench.run({ transform: user, datums: datums() });
    expect(await bench.output(next)).toEqual({ '/f': 'content\n' });
  });

  it('that writes without end has its output cut, with a line that says so', async () => {
    const run = await bench.run({
      transform: sh('yes "$(head -c 5000 /dev/zero | tr "\\0" x)" | head -c 100M'),
      datums: datums(),
    });
    const lines = await bench.userLines(run);
    expect(lines.length).toBeLessThan(15_000);
    expect(lines.filter((line) => /^\[tusk: … \d+ lines left out\]$/.test(line))).toHaveLength(1);
    expect(lines.at(-1)).toMatch(/^x+$/);
    const rss = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
    expect(rss).toBeLessThan(1_500_000);
  });

  it('can not change its inputs', async () => {
    const run = await bench.run({
      transform: sh('echo x > $in; echo x >> $in; rm $in; mv $in /tmp; touch /pfs/in/new; cat $in'),
      datums: datums(),
    });
    expect((await bench.userLines(run)).at(-1)).toBe('content');
    const next = await bench.run({ transform: sh('cat $in; ls /pfs/in'), datums: datums() });
    expect(await bench.userLines(next)).toEqual(['content', 'f']);
  });

  it('that fills what it may write to fails alone', async () => {
    const full = await bench.run({
      transform: sh('cat /dev/zero > /dev/shm/x; echo full; exit 3'),
      datums: datums(),
      memoryBytesMax: 64 * 2 ** 20,
      datumTimeoutMs: 60_000,
    });
    expect((await bench.details(full))[0]?.reason).toMatch(/memory limit 64Mi/);
    const next = await bench.run({ transform: sh('ls /dev/shm; echo ok'), datums: datums() });
    expect(await bench.userLines(next)).toEqual(['ok']);
  });
});
