import { describe, expect, it } from 'vitest';
import { codeOf, messageOf } from '../../core/errors.js';
import { CreatePipelineRequest } from '../../proto/generated/pps.js';
import { toSpec } from './defaults.js';
import { checkPipeline, checkRequest } from './validate.js';

type Spec = Record<string, unknown>;

/** The error text of a request, or undefined when it is accepted. */
function check(spec: Spec, remove: (keyof CreatePipelineRequest)[] = []): string | undefined {
  const request = CreatePipelineRequest.fromPartial({
    pipeline: { name: 'p' },
    transform: { cmd: ['true'] },
    input: { pfs: { repo: 'r', glob: '/*' } },
    ...spec,
  });
  for (const field of remove) Object.assign(request, { [field]: undefined });
  try {
    checkRequest(request);
    const context = { version: 1, nowMs: 1000, salt: 's', stopped: false };
    checkPipeline(toSpec(request, context), request);
    return undefined;
  } catch (error) {
    expect(codeOf(error)).toBe('INVALID_INPUT');
    return messageOf(error);
  }
}

const pfs = (name: string, more: object = {}) => ({
  pfs: { name, repo: 'r', glob: '/*', ...more },
});

const secret = (one: object): Spec => ({ transform: { cmd: ['x'], secrets: [one] } });

describe('requests', () => {
  it('accepts a plain pipeline and fills defaults', () => {
    expect(check({})).toBeUndefined();
    expect(check({ egress: { URL: 's3://bucket/dir' } })).toBeUndefined();
    const request = CreatePipelineRequest.fromPartial({
      pipeline: { name: 'p' },
      transform: { cmd: ['true'] },
      input: { pfs: { repo: 'r', glob: '/*' } },
    });
    const context = { version: 3, nowMs: 1500, salt: 'salt', stopped: true };
    expect(toSpec(request, context)).toMatchObject({
      version: 3,
      salt: 'salt',
      stopped: true,
      createdAt: { seconds: 1, nanos: 500_000_000 },
      transform: { image: 'ubuntu:16.04' },
      parallelismSpec: { constant: 1 },
      outputBranch: 'master',
      cacheSize: '64M',
      maxQueueSize: 1,
      datumTries: 3,
      reprocessSpec: 'until_success',
    });
  });

  it.each<[string, Spec, (keyof CreatePipelineRequest)[]?]>([
    ['invalid pipeline spec: request.Pipeline cannot be nil', {}, ['pipeline']],
    ['invalid pipeline spec: request.Pipeline.Name cannot be empty', { pipeline: { name: '' } }],
    [
      'invalid pipeline name: name (a.b) invalid: only alphanumeric characters, underscores, and dashes are allowed',
      { pipeline: { name: 'a.b' } },
    ],
    [
      `pipeline name is 64 characters long, but must have at most 63: "${'x'.repeat(64)}"`,
      { pipeline: { name: 'x'.repeat(64) } },
    ],
    ['embedding TFJobs in pipelines is not supported yet', { tfJob: { tfJob: '{}' } }],
    ['s3 output is not supported in spouts or services', { s3Out: true, spout: {} }],
    [
      "stats are not supported for pipelines that output via Pachyderm's S3 gateway",
      { s3Out: true, enableStats: true },
    ],
    ['pipeline must specify a transform', {}, ['transform']],
    [
      "invalid pipeline spec: ReprocessSpec must be one of 'until_success' or 'every_job'",
      { reprocessSpec: 'never' },
    ],
    ['pipeline names must start with an alphanumeric character', { pipeline: { name: '_p' } }],
    ['ParallelismSpec.Coefficient cannot be negative', { parallelismSpec: { coefficient: -1 } }],
    [
      'contradictory parallelism strategies: must set at most one of ParallelismSpec.Constant and ParallelismSpec.Coefficient',
      { parallelismSpec: { constant: 2, coefficient: 1 } },
    ],
    [
      'services can only be run with a constant parallelism of 1',
      { service: {}, parallelismSpec: { constant: 2 } },
    ],
    ['invalid pipeline spec: HashtreeSpec.Constant must be > 0', { hashtreeSpec: {} }],
    ["could not parse cacheSize '1 gig':", { cacheSize: '1 gig' }],
    ["could not parse cacheSize '64MB':", { cacheSize: '64MB' }],
    ['seconds out of range', { datumTimeout: { seconds: 400_000_000_000 } }],
    ['job_timeout cannot be negative', { jobTimeout: { seconds: -1 } }],
    ['datum_tries cannot be negative', { datumTries: -1 }],
    ['invalid pipeline spec: egress to gs:// is not built in Tusk', { egress: { URL: 'gs://b' } }],
    ['invalid pipeline spec: egress must specify a URL', { egress: {} }],
    [
      'transform.build needs the files of its directory, which only the command line has',
      { transform: { build: { language: 'python' } } },
    ],
    ['invalid transform: a secret must specify a name', secret({ mountPath: '/s' })],
    [
      'invalid transform: secret "s" must specify mount_path, or env_var and key',
      secret({ name: 's' }),
    ],
    ['must specify both of env_var and key', secret({ name: 's', mountPath: '/s', key: 'k' })],
    ['mount_path "/pfs/in" must be an absolute path', secret({ name: 's', mountPath: '/pfs/in' })],
    ['mount_path "etc" must be an absolute path', secret({ name: 's', mountPath: 'etc' })],
    ['malformed PodSpec', { podSpec: '{' }],
    ['malformed PodPatch', { podPatch: 'x' }],
    ['the following service type X is not allowed', { service: { type: 'X' } }],
    ['spouts are not allowed to have a stats branch', { spout: {}, enableStats: true }],
    ['the spout marker name must be a valid filename: a*', { spout: { marker: 'a*' } }],
    ['the spout marker name must be a valid filename: out', { spout: { marker: 'out' } }],
    ['spout pipelines (without a service) must not have an input', { spout: {} }],
  ])('%s', (text, spec, remove) => {
    expect(check(spec, remove)).toContain(text);
  });
});

describe('inputs', () => {
  const cron = { cron: { name: 'c', spec: '@daily' } };
  it.each<[string, Spec['input']]>([
    ['name "a" was used more than once', { cross: [pfs('a'), pfs('a')] }],
    ['name "a" was used more than once', { cross: [{ union: [pfs('a')] }, pfs('a')] }],
    ['name "a" was used more than once', { join: [pfs('a'), { cross: [pfs('a'), pfs('b')] }] }],
    ['input must specify a name', { pfs: { glob: '/' } }],
    [
      'input cannot be named "out", as pachyderm already creates /pfs/out to collect job output',
      pfs('out'),
    ],
    ['input name "a/b" cannot be the name of a directory', pfs('a/b')],
    ['input name ".." cannot be the name of a directory', pfs('..')],
    ['input must specify a repo', pfs('a', { repo: '' })],
    ['input must specify a glob', pfs('a', { glob: '' })],
    ['invalid glob', pfs('a', { glob: '/[' })],
    ["inputs that set 's3' to 'true' must also set 'glob', to \"/\"", pfs('a', { s3: true })],
    ["input cannot specify both 's3' and 'lazy', ", pfs('a', { s3: true, glob: '/', lazy: true })],
    [
      "input cannot specify both 's3' and 'empty_files', ",
      pfs('a', { s3: true, glob: '/', emptyFiles: true }),
    ],
    [
      'S3 inputs in join expressions are not supported',
      { join: [pfs('a', { s3: true, glob: '/' })] },
    ],
    [
      'S3 inputs in group expressions are not supported',
      { group: [pfs('a'), { cross: [pfs('b', { s3: true, glob: '/' })] }] },
    ],
    [
      'S3 inputs in union expressions are not supported',
      { union: [pfs('a'), pfs('b', { s3: true, glob: '/' })] },
    ],
    ['multiple input types set', { ...pfs('a'), ...cron }],
    ['no input set', {}],
    ['no input set', { cross: [pfs('a'), {}] }],
    ['input must specify a name', { cron: { spec: '@daily' } }],
    ['error parsing cron-spec: Empty spec string', { cron: { name: 'c', spec: '' } }],
    [
      'error parsing cron-spec: Expected exactly 5 fields, found 2: often enough',
      { cron: { name: 'c', spec: 'often enough' } },
    ],
    ['error parsing cron-spec: Unrecognized descriptor: @x', { cron: { name: 'c', spec: '@x' } }],
    [
      'error parsing cron-spec: Failed to parse duration @every x: ',
      { cron: { name: 'c', spec: '@every x' } },
    ],
    ['error parsing cron-spec: End of range (60)', { cron: { name: 'c', spec: '60 * * * *' } }],
    [
      'clone URL is missing (example clone URL https://github.com/org/foo.git)',
      { git: { url: '' } },
    ],
    ['clone URL is missing .git suffix', { git: { url: 'https://x.org/a' } }],
    ['clone URL must use https protocol', { git: { url: 'git@x.org:a.git' } }],
    ['clone URL must use https protocol', { git: { url: 'ssh://x.org/a.git' } }],
    ['is not the name of a git branch', { git: { url: 'https://x.org/a.git', branch: '-x' } }],
  ])('%s', (text, input) => {
    expect(check({ input })).toContain(text);
  });

  it('lets the branches of a union share a name', () => {
    expect(check({ input: { union: [pfs('a'), pfs('a', { glob: '/x*' })] } })).toBeUndefined();
  });

  it('lets a pipeline have no input', () => {
    expect(check({ input: undefined })).toBeUndefined();
  });

  it('lets a spout with a service have one, and services and spouts no command', () => {
    expect(check({ spout: { service: {} } })).toBeUndefined();
    expect(check({ spout: { service: {} }, transform: {} })).toBeUndefined();
    expect(check({ service: {}, transform: { image: 'x' } })).toBeUndefined();
  });
});
