/** Specs as people write them, and the commands around pipelines, against a server without workers. */
import { chmodSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CLIENT_OPTIONS, insecure } from '../../proto/channel.js';
import { APIClient as AdminClient, type Op } from '../../proto/generated/admin.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { CliResult } from '../support/cli-run.js';
import { cliServers, type CliServer } from '../support/shared.js';
import { call } from '../support/transaction-server.js';

let server: CliServer['server'];
let dir: CliServer['dir'];
let env: CliServer['env'];
let tusk: CliServer['tusk'];

cliServers(async (made) => {
  ({ server, dir, env, tusk } = made);
  await ok('create repo in');
});

async function ok(line: string, input?: string): Promise<string> {
  const { code, stdout, stderr } = await tusk(line, input);
  expect(code, `${line}: ${stderr}`).toBe(0);
  return stdout;
}
async function refused(line: string, input?: string): Promise<string> {
  const { code, stderr } = await tusk(line, input);
  expect(code, line).toBe(1);
  return stderr.trimEnd();
}
function file(name: string, text: string): string {
  const path = join(dir.path, name);
  writeFileSync(path, text);
  return path;
}
const inspect = (name: string): Promise<PipelineInfo> =>
  call<PipelineInfo>(server.pps, 'inspectPipeline', { pipeline: { name } });
async function names(): Promise<string[]> {
  const lines = (await ok('list pipeline')).trimEnd().split('\n').slice(1);
  return lines.map((line) => line.split(' ')[0] ?? '').sort();
}

const INPUT = '"input": {"pfs": {"repo": "in", "glob": "/*"}}';
const spec = (name: string, more = ''): string =>
  `{"pipeline": {"name": "${name}"}, "transform": {"cmd": ["true"]}, ${INPUT}${more}}`;

describe('a spec', () => {
  it.each<[string, string, readonly string[]]>([
    ['of one object', spec('a'), ['a']],
    ['of objects one after another', `${spec('a')}${spec('b')}\n\n${spec('c')}`, ['a', 'b', 'c']],
    ['of a list', `[${spec('a')}, ${spec('b')}]`, ['a', 'b']],
    [
      'of YAML documents',
      'pipeline: {name: a}\ntransform: {cmd: ["true"]}\ninput: {pfs: {repo: in, glob: /*}}\n' +
        '---\npipeline:\n  name: b\ntransform:\n  cmd: ["true"]\ninput:\n  pfs:\n    repo: in\n    glob: "/"\n',
      ['a', 'b'],
    ],
    ['that is empty', '', []],
    ['of white space', ' \n\n', []],
    ['with nulls', spec('a', ', "egress": null, "service": null, "datum_timeout": null'), ['a']],
    ['with an atom input, as until 1.8', spec('a').replace('"pfs"', '"atom"'), ['a']],
    [
      'with a list of inputs, as until 1.5',
      '{"pipeline":{"name":"a"},"transform":{"cmd":["true"]},"inputs":[{"repo":{"name":"in"},"glob":"/"}]}',
      ['a'],
    ],
  ])('%s is read from a file, and from standard input', async (_what, text, made) => {
    await ok(`create pipeline -f ${file('spec', text)}`);
    expect(await names()).toEqual(made);
    for (const name of made) await ok(`delete pipeline ${name}`);
    expect(await ok('create pipeline', text)).toBe('Reading from stdin.\n');
    expect(await names()).toEqual(made);
  });

  it('may have every field under both of its names, numbers and durations in any form', async () => {
    const more =
      ', "parallelism_spec": {"constant": "7"}, "parallelismSpec": {"constant": 8},' +
      ' "datumTries": "4", "datum_timeout": "1h30m", "jobTimeout": "1.5s",' +
      ' "chunk_spec": {"number": "3", "sizeBytes": 9007199254740991},' +
      ' "resource_limits": {"cpu": "0.5", "memory": "64M", "gpu": {"type": "nvidia.com/gpu", "number": 1}}';
    await ok('create pipeline -f -', spec('a', more));
    const info = await inspect('a');
    expect(info).toMatchObject({
      parallelismSpec: { constant: 8 },
      datumTries: 4,
      datumTimeout: { seconds: 5400, nanos: 0 },
      jobTimeout: { seconds: 1, nanos: 500_000_000 },
      chunkSpec: { number: 3, sizeBytes: Number.MAX_SAFE_INTEGER },
      resourceLimits: { cpu: 0.5, memory: '64M', gpu: { type: 'nvidia.com/gpu', number: 1 } },
    });
    const raw = await ok('extract pipeline a');
    expect(raw).toContain('"datum_timeout": "5400s"');
    expect(raw).toContain('"job_timeout": "1.500s"');
    expect(raw).toContain('"datum_tries": "4"');
  });

  it.each<[string, string, RegExp]>([
    ['a field nobody knows', spec('a', ', "colour": 1'), /unknown field "colour" in pps\.Create/],
    [
      'one further in',
      spec('a').replace('"glob"', '"globs"'),
      /unknown field "globs" in pps\.PFSI/,
    ],
    ['broken JSON', '{"pipeline": {"name": "a"}, x', /invalid character 'x' looking for beginning/],
    ['broken YAML', 'pipeline: [a\n', /could not parse yaml: /],
    ['a bad duration', spec('a', ', "job_timeout": "soon"'), /bad Duration: .*"soon"/],
    [
      'a bad time',
      '{"pipeline": {"name": "a"}, "input": {"cron": {"name": "c", "spec": "@daily", "start": "now"}}}',
      /bad Timestamp: /,
    ],
    ['no name', '{"pipeline": {}}', /no pipeline `name` specified/],
    ['no pipeline', '{"transform": {}}', /no `pipeline` specified/],
    [
      'a TFJob that is none',
      spec('a', ', "tf_job": {"kind": "Pod"}'),
      /tf_job must contain a kubernetes manifest for a Kubeflow TFJob/,
    ],
  ])('with %s makes nothing and says where', async (_what, text, error) => {
    const answer = await refused(
      'create pipeline -f -',
      text.startsWith('{') ? `${spec('before')}${text}` : text,
    );
    expect(answer).toMatch(/^malformed pipeline spec: /);
    expect(answer).toMatch(error);
    expect(await names()).toEqual([]);
  });

  it('that the server refuses ends the list; those before it stay', async () => {
    const text = `${spec('a')}${spec('b').replace('"in"', '"none"')}${spec('c')}`;
    expect(await refused('create pipeline -f -', text)).toMatch(/repos\/ none not found/);
    expect(await names()).toEqual(['a']);
  });

  it('may come from a URL', async () => {
    const http: Server = createServer(({ url }, response) => {
      response.statusCode = url === '/spec.json' ? 200 : 404;
      response.end(spec('a'));
    });
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    const at = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
    await ok(`create pipeline -f ${at}/spec.json`);
    expect(await names()).toEqual(['a']);
    expect(await refused(`create pipeline -f ${at}/x`)).toContain('404');
    http.close();
  });
});

/** Everything a spec can say, as the wire has it. */
const FULL = `{
  "pipeline": {"name": "full"}, "description": "says everything",
  "transform": {
    "image": "host:1", "cmd": ["sh"], "stdin": ["true"], "env": {"A": "1"},
    "err_cmd": ["sh"], "err_stdin": ["false"], "accept_return_code": ["3"], "debug": true,
    "user": "nobody", "working_dir": "/tmp", "dockerfile": "D", "image_pull_secrets": ["reg"],
    "secrets": [{"name": "s", "env_var": "S", "key": "k"}, {"name": "s", "mount_path": "/s"}]
  },
  "input": {"cross": [
    {"pfs": {"repo": "in", "name": "x", "branch": "b", "glob": "/(*)", "lazy": true}},
    {"join": [
      {"pfs": {"repo": "in", "name": "l", "glob": "/(*)", "join_on": "$1", "outer_join": true}},
      {"pfs": {"repo": "in", "name": "r", "glob": "/(*)", "join_on": "$1", "empty_files": true}}
    ]},
    {"group": [{"pfs": {"repo": "in", "name": "g", "glob": "/(*)", "group_by": "$1"}}]},
    {"union": [{"cron": {"name": "tick", "spec": "@daily", "overwrite": true}}]},
    {"git": {"url": "https://example.org/tools.git", "branch": "main", "poll_interval": "5s"}}
  ]},
  "parallelism_spec": {"constant": 3}, "hashtree_spec": {"constant": 2}, "output_branch": "out",
  "egress": {"URL": "s3://bucket/dir"}, "enable_stats": true, "cache_size": "1G",
  "resource_requests": {"cpu": 1, "memory": "1Gi", "disk": "2Gi"},
  "resource_limits": {"cpu": 2}, "sidecar_resource_limits": {"memory": "1M"},
  "chunk_spec": {"number": 2, "size_bytes": 3}, "datum_tries": 5, "datum_timeout": "1m",
  "job_timeout": "2m", "max_queue_size": 4, "standby": true, "autoscaling": true,
  "scheduling_spec": {"node_selector": {"zone": "a"}, "priority_class_name": "high"},
  "pod_spec": "{}", "pod_patch": "[]", "reprocess_spec": "every_job", "salt": "pepper",
  "metadata": {"annotations": {"a": "b"}, "labels": {"c": "d"}}
}`;

it('fields that only mean something on Kubernetes are kept, and the command says so', async () => {
  const more =
    ', "pod_patch": "[]", "pod_spec": "{}", "scheduling_spec": {"priority_class_name": "high"}';
  const { code, stderr } = await tusk('create pipeline -f -', spec('a', more));
  expect([code, stderr]).toEqual([
    0,
    'WARNING: pipeline a: pod_spec, pod_patch, scheduling_spec.priority_class_name only mean ' +
      'something on Kubernetes; kept, and without effect here\n',
  ]);
  expect(await ok('extract pipeline a')).toContain('"pod_patch": "[]"');
});

describe('extract pipeline', () => {
  it.each(['json', 'yaml'])('prints %s that makes the same pipeline again', async (format) => {
    await ok('create pipeline -f -', FULL);
    const text = await ok(`extract pipeline full -o ${format}`);
    const before = await inspect('full');
    await ok('delete pipeline full');
    await ok('create pipeline -f -', text);
    const { createdAt: _then, specCommit: _commit, ...same } = before;
    expect(await inspect('full')).toMatchObject(same);
    expect(await ok(`extract pipeline full -o ${format}`)).toBe(text);
    // What was said is all there.
    if (format === 'json') {
      const said = JSON.parse(FULL) as Record<string, unknown>;
      const { input: _input, datum_timeout, job_timeout, ...rest } = said;
      expect([datum_timeout, job_timeout]).toEqual(['1m', '2m']);
      const strings = (value: unknown): unknown =>
        JSON.parse(
          JSON.stringify(value, (_key, v: unknown) => (typeof v === 'number' ? String(v) : v)),
        );
      expect(strings(JSON.parse(text))).toMatchObject(strings(rest) as object);
    }
  });

  it('prints former specs too, and list pipeline --spec prints all', async () => {
    await ok('create pipeline -f -', spec('a', ', "description": "one"'));
    await ok('update pipeline -f -', spec('a', ', "description": "two"'));
    expect(await ok('extract pipeline a^')).toContain('"description": "one"');
    expect(await refused('extract pipeline a~2')).toContain('pipeline "a~2" not found');
    await ok('create pipeline -f -', spec('b'));
    const all = await ok('list pipeline --spec');
    await ok('delete pipeline --all');
    await ok('create pipeline -f -', all);
    expect(await names()).toEqual(['a', 'b']);
  });

  it('answers the admin call of 1.x clients in the field of each minor version', async () => {
    await ok('create pipeline -f -', spec('a', ', "salt": "pepper"'));
    const admin = new AdminClient(server.address, insecure(), CLIENT_OPTIONS);
    const op = await call<Op>(admin, 'extractPipeline', { pipeline: { name: 'a' } });
    admin.close();
    const { op19, op110, op111, op112, op113 } = op;
    for (const one of [op19, op110, op111, op112, op113]) {
      expect(one?.pipeline).toMatchObject({
        ...{ pipeline: { name: 'a' }, salt: 'pepper', update: false },
        transform: { cmd: ['true'], image: 'ubuntu:16.04' },
      });
      expect(one?.pipeline?.specCommit).toBeUndefined();
    }
  });
});

describe('edit pipeline', () => {
  /** An editor that does what the script says to the file. */
  function editor(script: string): string {
    const path = file('editor.sh', `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o755);
    return path;
  }

  it('updates to what the editor leaves, in JSON or YAML', async () => {
    await ok('create pipeline -f -', spec('a', ', "description": "one", "salt": "pepper"'));
    env['EDITOR'] = editor('sed -i "s/one/two/" "$1"');
    expect(await tusk('edit pipeline a')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await inspect('a')).toMatchObject({ description: 'two', version: 2, salt: 'pepper' });
    const other = editor('grep -q "^description: two$" "$1" && sed -i "s/two/three/" "$1"');
    await ok(`edit pipeline a -o yaml --reprocess --editor ${other}`);
    const info = await inspect('a');
    expect(info).toMatchObject({ description: 'three', version: 3 });
    expect(info.salt).not.toBe('pepper');
  });

  it('does nothing when nothing changed, or the editor failed, or what is left is no spec', async () => {
    await ok('create pipeline -f -', spec('a'));
    const edited = async (script: string): Promise<CliResult> => {
      env['EDITOR'] = editor(script);
      return tusk('edit pipeline a');
    };
    expect(await edited('true')).toEqual({
      ...{ code: 0, stdout: '' },
      stderr: 'Pipeline unchanged, no update will be performed\n',
    });
    expect((await edited('exit 3')).stderr).toContain(
      'ended with exit code 3; nothing was changed',
    );
    expect((await edited('echo "{" > "$1"')).stderr).toContain('malformed pipeline spec: ');
    env['EDITOR'] = '/no/such/editor';
    expect((await tusk('edit pipeline a')).stderr).toContain('choose one with --editor');
    expect((await inspect('a')).version).toBe(1);
    expect(await refused('edit pipeline none')).toContain('pipeline "none" not found');
  });

  it('joins a transaction', async () => {
    await ok('create pipeline -f -', spec('a', ', "description": "one"'));
    env['EDITOR'] = editor('sed -i "s/one/two/" "$1"');
    await ok('start transaction');
    expect((await tusk('edit pipeline a')).stderr).toMatch(/^Added to transaction: /);
    expect((await inspect('a')).version).toBe(1);
    await ok('finish transaction');
    expect(await inspect('a')).toMatchObject({ version: 2, description: 'two' });
  });
});

describe('several pipelines', () => {
  it('are made in one transaction, which is refused whole', async () => {
    await ok('start transaction');
    await ok('create pipeline -f -', `${spec('a')}${spec('b').replace('"in"', '"a"')}`);
    expect(await refused('create pipeline -f -', spec('c').replace('"in"', '"none"'))).toContain(
      'error running request 3 of 3: /pachyderm_pfs/repos/ none not found',
    );
    expect(await names()).toEqual([]);
    await ok('finish transaction');
    expect(await names()).toEqual(['a', 'b']);
    await ok('start transaction');
    await ok('update pipeline -f -', spec('a', ', "description": "new"'));
    await ok('delete repo in --force');
    expect(await refused('update pipeline -f -', spec('b'))).toContain('not found');
    await ok('delete transaction');
    expect((await inspect('a')).version).toBe(1);
  });
});

describe('the other commands', () => {
  it.each<[string, string]>([
    ['create pipeline -f -', 'pipeline a already exists'],
    ['start pipeline none', 'error from StartPipeline: pipeline "none" not found'],
    ['stop pipeline none', 'error from StopPipeline: pipeline "none" not found'],
    ['inspect pipeline none', 'pipeline "none" not found'],
    ['list pipeline none', 'pipeline "none" not found'],
    ['delete pipeline', 'either a pipeline name or the --all flag needs to be provided'],
    ['delete pipeline a --all', 'cannot use the --all flag with an argument'],
    ['delete pipeline a', 'branch master has [b@master] as subvenance, deleting it would break'],
    ['create pipeline --build -f -', '--build is not supported'],
  ])('%s: %s', async (line, text) => {
    await ok('create pipeline -f -', `${spec('a')}${spec('b').replace('"in"', '"a"')}`);
    expect(await refused(line, spec('a'))).toContain(text);
    expect(await names()).toEqual(['a', 'b']);
  });

  it.each<[string, readonly string[], readonly string[]]>([
    ['delete pipeline b', ['a'], ['a', 'in']],
    ['delete pipeline a --force', ['b'], ['b', 'in']],
    ['delete pipeline b --keep-repo', ['a'], ['a', 'b', 'in']],
    ['delete pipeline b --split-txn', ['a'], ['a', 'in']],
    ['delete pipeline none', ['a', 'b'], ['a', 'b', 'in']],
    ['delete pipeline --all', [], ['in']],
    ['delete pipeline --all --keep-repo', [], ['a', 'b', 'in']],
    ['delete-pipeline b', ['a'], ['a', 'in']],
  ])('%s leaves the pipelines %s and the repos %s', async (line, pipelines, repos) => {
    await ok('create pipeline -f -', `${spec('a')}${spec('b').replace('"in"', '"a"')}`);
    await ok(line);
    expect(await names()).toEqual(pipelines);
    const lines = (await ok('list repo')).trimEnd().split('\n').slice(1);
    expect(lines.map((one) => one.split(' ')[0]).sort()).toEqual(repos);
  });

  it('stop and start twice, and list by state', async () => {
    await ok('create pipeline -f -', `${spec('a')}${spec('b')}`);
    await ok('stop pipeline a');
    await ok('stop pipeline a');
    expect(await ok('list pipeline --state paused')).toMatch(/^NAME .*\na +1 /);
    expect(await ok('list pipeline --state paused')).not.toMatch(/^b /m);
    expect(await ok('list pipeline --state PIPELINE_PAUSED --state failure')).toMatch(/^a +1 /m);
    expect(await refused('list pipeline --state asleep')).toBe(
      '--state asleep: no pipeline state; expected starting, running, restarting, failure, ' +
        'paused, standby, crashing',
    );
    expect(await refused('list job --state merged')).toContain('--state merged: no job state');
    expect((await inspect('a')).stopped).toBe(true);
    await ok('start-pipeline a');
    await ok('start pipeline a');
    expect((await inspect('a')).stopped).toBe(false);
  });

  it('update makes what is not there', async () => {
    await ok('update pipeline -f -', spec('a'));
    await ok('update-pipeline -f - --reprocess', spec('a'));
    expect((await inspect('a')).version).toBe(2);
  });
});
