/** Processes that stay alive between datums: the protocol, its helpers, and how they fail. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTaskBench, type TaskBench } from '../support/task-bench.js';
import { until } from '../support/until.js';

const helper = (name: string): string =>
  readFileSync(join(import.meta.dirname, '../../examples/warm', name), 'utf8');
let bench: TaskBench;

beforeAll(async () => {
  bench = await openTaskBench();
});
afterAll(async () => {
  await bench[Symbol.asyncDispose]();
});

async function inputs(names: readonly string[]) {
  const tree = await bench.tree(Object.fromEntries(names.map((name) => [name, `text ${name}`])));
  return names.map((name) => [{ name: 'in', path: `/${name}`, tree }]);
}

const shell = (body: string) => ({
  cmd: ['sh', '-c', `${helper('tusk_warm.sh')}\n${body}`],
  env: { TUSK_WARM_FORMAT: 'sh' },
  warm: true,
});
const python = (body: string) => ({
  cmd: ['python3', '-c', `${helper('tusk_warm.py')}\n${body}`],
  warm: true,
});

describe('a process that stays alive', () => {
  it('gets one datum after the other, each with its own /pfs, variables and log', async () => {
    const names = ['a', "b 'c", 'd\ne', 'f'];
    const body =
      'h() { cat "$in" > "/pfs/out/of"; echo "$$ $PACH_DATUM_ID"; ls /pfs/out; }; tusk_warm h';
    const run = await bench.run({ transform: shell(body), datums: await inputs(names) });
    expect(run.result).toMatchObject({ processed: 4, failed: 0 });
    const out = await bench.outputs(run);
    expect(out.map((one) => one['/of'])).toEqual(names.map((name) => `text ${name}`));
    const lines = (await bench.lines(run)).filter(({ user }) => user);
    const said = lines.filter(({ message }) => message !== 'of');
    expect(new Set(said.map(({ message }) => message.split(' ')[0])).size).toBe(1);
    expect(said.map(({ message }) => message.split(' ')[1])).toEqual(
      said.map(({ datum }) => datum),
    );
    expect(said).toHaveLength(4);
    const next = await bench.run({ transform: shell(body), datums: await inputs(['g']) });
    const [first] = await bench.userLines(next);
    expect(first?.split(' ')[0]).toBe(said[0]?.message.split(' ')[0]);
  });

  it('in Python: state is kept, an exception fails its datum alone', async () => {
    const body = [
      'count = []',
      '@serve',
      'def handle(datum):',
      '    count.append(datum.id)',
      '    text = open(datum.env["in"]).read()',
      '    assert dict(datum.inputs) == {"in": datum.env["in"]} and os.environ["in"] == datum.env["in"]',
      '    if text == "text bad": raise ValueError("bad text")',
      '    open("/pfs/out/n", "w").write("%d" % len(count))',
    ].join('\n');
    const run = await bench.run({
      transform: python(body),
      datums: await inputs(['a', 'bad', 'c']),
      datumTries: 2,
    });
    expect(run.result).toMatchObject({ processed: 2, failed: 1 });
    const [a, bad, c] = await bench.details(run);
    expect([a?.tries, bad?.tries, c?.tries]).toEqual([1, 2, 1]);
    expect(bad?.reason).toMatch(/ValueError: bad text/);
    const out = await bench.outputs(run);
    expect([out[0]?.['/n'], out[2]?.['/n']]).toEqual(['1', '4']);
  });

  it('that ends, lies or hangs is a failed try, and a new one takes its place', async () => {
    const crash = await bench.run({
      transform: shell(
        'h() { echo up; [ ! -e /tmp/mark ] || exit 0; echo x > /tmp/mark; }; tusk_warm h',
      ),
      datums: await inputs(['a', 'b', 'c']),
      datumTries: 2,
    });
    expect(crash.result).toMatchObject({ processed: 3, failed: 0 });
    expect((await bench.details(crash)).map(({ tries }) => tries)).toEqual([1, 2, 2]);
    const log = (await bench.lines(crash)).map(({ message }) => message).join('\n');
    expect(log).toContain('ended with exit status 0 and without an answer');
    const reason = async (transform: ReturnType<typeof shell>, timeout = 0): Promise<string> => {
      const datums = await inputs(['a']);
      const run = await bench.run({ transform, datums, datumTimeoutMs: timeout });
      return (await bench.details(run))[0]?.reason ?? '';
    };
    expect(await reason(shell('read -r l; echo yes >&3; sleep 402'))).toMatch(/"yes" is no JSON/);
    expect(await reason(shell('read -r l; (trap "" TERM; sleep 403 &); sleep 403'), 300)).toMatch(
      /context deadline exceeded/,
    );
    await until('they are gone', () => bench.processes(/sleep 40[23]/).length === 0);
    const fine = await bench.run({
      transform: shell('tusk_warm true'),
      datums: await inputs(['a']),
    });
    expect(fine.result.processed).toBe(1);
  });

  it('is recovered by err_cmd in the same /pfs, and makes room for other pipelines', async () => {
    const run = await bench.run({
      transform: {
        ...shell('h() { echo half > /pfs/out/half; false; }; tusk_warm h'),
        errCmd: ['sh', '-c', 'cat /pfs/out/half "$in"'],
      },
      datums: await inputs(['a']),
    });
    expect(run.result.recovered).toBe(1);
    expect(await bench.userLines(run)).toEqual(['half', 'text a']);
    await bench.run({
      transform: shell('sleep 404 & tusk_warm true'),
      datums: await inputs(['a']),
    });
    expect(bench.processes(/^sleep 404/)).toHaveLength(1);
    await bench.run({ transform: { cmd: ['true'] }, datums: await inputs(['a']) });
    await until('it is gone', () => bench.processes(/^sleep 404/).length === 0);
  });
});
