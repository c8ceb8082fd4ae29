import { describe, expect, it } from 'vitest';
import { parseSpecs } from './parse.js';

const warnings: string[] = [];
const parse = (text: string) =>
  parseSpecs(text, { source: 'x.json', warn: (line) => warnings.push(line) });

async function failure(text: string): Promise<string> {
  try {
    await parse(text);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('parsed');
}

const EDGES = `{
  "pipeline": {"name": "edges"},
  "transform": {"cmd": ["python3", "/edges.py"], "image": "x:1"},
  "parallelism_spec": {"constant": "20"},
  "input": {"pfs": {"repo": "images", "glob": "/*"}}
}`;

describe('parseSpecs', () => {
  it('reads concatenated objects, quoted integers, both spellings', async () => {
    const specs = await parse(
      `${EDGES}${EDGES.replace('parallelism_spec', 'parallelismSpec').replace('edges', 'second')}\n`,
    );
    expect(specs.map((spec) => spec.pipeline?.name)).toEqual(['edges', 'second']);
    expect(specs.map((spec) => spec.parallelismSpec?.constant)).toEqual([20, 20]);
    expect(specs[0]?.input?.pfs?.glob).toBe('/*');
  });

  it('reads YAML documents and lists', async () => {
    const yaml = `pipeline: {name: a}\ntransform:\n  cmd: [sh]\n  env: {A: "1"}\njob_timeout: 1h30m\n---\npipeline:\n  name: b\n`;
    const specs = await parse(yaml);
    expect(specs.map((spec) => spec.pipeline?.name)).toEqual(['a', 'b']);
    expect(specs[0]?.jobTimeout).toEqual({ seconds: 5400, nanos: 0 });
    expect(specs[0]?.transform?.env).toEqual({ A: '1' });
    expect(await parse(`[${EDGES}, ${EDGES}]`)).toHaveLength(2);
  });

  it('reads nothing from an empty text', async () => {
    expect(await parse(' \n')).toEqual([]);
  });

  it('translates atom and inputs', async () => {
    warnings.length = 0;
    const [spec] = await parse(
      `{"pipeline":{"name":"p"},"input":{"cross":[{"atom":{"repo":"a","glob":"/*"}},{"atom":{"repo":"b","glob":"/"}}]}}`,
    );
    expect(spec?.input?.cross.map((input) => input.pfs?.repo)).toEqual(['a', 'b']);
    const [old] = await parse(
      `{"pipeline":{"name":"p"},"inputs":[{"repo":{"name":"training"},"glob":"/"}]}`,
    );
    expect(old?.input?.pfs).toMatchObject({ repo: 'training', glob: '/' });
    expect(warnings.some((line) => line.includes('"atom"'))).toBe(true);
  });

  it('names unknown fields with their message, their place and a way out', async () => {
    expect(await failure(EDGES.replace('"cmd"', '"cmds"'))).toBe(
      'malformed pipeline spec: unknown field "cmds" in pps.Transform\n' +
        '  at x.json:3:17: did you mean "cmd"?',
    );
    expect(await failure(EDGES.replace('"repo"', '"repository"'))).toMatch(
      /^malformed pipeline spec: unknown field "repository" in pps\.PFSInput\n/,
    );
    expect(await failure(EDGES.replace('"parallelism_spec"', '"paralelism_spec"'))).toMatch(
      /unknown field "paralelism_spec" in pps\.CreatePipelineRequest\n.*did you mean "parallelism_spec"\?/,
    );
  });

  it.each([
    [
      '{"pipeline": {"name": "p"}, name: 1}',
      "invalid character 'n' looking for beginning of object key string",
    ],
    [
      '{"pipeline": {"name": "p"},}',
      "invalid character '}' looking for beginning of object key string",
    ],
    ['{"pipeline": {"name": "p"}', 'unexpected EOF'],
    ['{"pipeline" {}}', "invalid character '{' after object key"],
    ['{"pipeline": [1 2]}', "invalid character '2' after array element"],
    ['{"pipeline": truu}', "invalid character 'u' in literal true (expecting 'e')"],
    ['{}', 'no `pipeline` specified'],
    ['{"pipeline": {}}', 'no pipeline `name` specified'],
    [
      '{"pipeline": {"name": "p"}, "job_timeout": "soon"}',
      'bad Duration: time: invalid duration "soon"',
    ],
    [
      '{"pipeline": {"name": "p"}, "transform": {"cmd": "sh"}}',
      'field "transform.cmd": expected a list of strings, got the string "sh"',
    ],
    [
      '{"pipeline": {"name": "p"}, "parallelism_spec": {"constant": -1}}',
      'field "parallelism_spec.constant": -1 is out of range for uint64',
    ],
  ])('refuses %s', async (text, message) => {
    const [first] = (await failure(text)).split('\n');
    expect(first).toBe(`malformed pipeline spec: ${message}`);
  });

  it('says where YAML is wrong', async () => {
    expect(await failure('pipeline: {name: p\n')).toMatch(
      /^malformed pipeline spec: could not parse yaml: /,
    );
  });
});
