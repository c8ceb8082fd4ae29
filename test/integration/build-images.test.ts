/** transform.build where a worker has a container engine: built and run in the image of the spec. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { importImage, podman } from '../support/image.js';
import { startStack, type Stack } from '../support/stack.js';

const IMAGE = `localhost/tusk-build-${process.pid}:1`;
let stack: Stack;

beforeAll(async () => {
  await importImage(IMAGE);
  stack = await startStack({ workers: 0 });
  await stack.addWorker({ slots: 2, args: ['--engine', 'podman'] });
  await stack.client.createRepo('in');
  await stack.client.put('in', { '/a': 'input\n' });
});
afterAll(async () => {
  await stack[Symbol.asyncDispose]();
  podman('rmi', '-f', IMAGE);
});

// Only the image has /srv/of-the-image: the outputs tell where the code ran.
it.each<[string, string, object, Record<string, string>]>([
  [
    'a directory with a build.sh',
    'own',
    { image: IMAGE, build: { path: 'own' } },
    {
      'build.sh':
        'cat /srv/of-the-image text > /pfs/out/built\n' +
        "echo 'cat /pfs/in/* /srv/of-the-image /pfs/build/built > /pfs/out/all' > /pfs/out/run.sh",
      text: 'source\n',
    },
  ],
  [
    'an image that brings its build.sh',
    'theirs',
    { build: { path: 'theirs', image: IMAGE } },
    { text: 'source\n' },
  ],
])('%s is built and run in the image', async (_what, name, transform, files) => {
  const code = join(stack.dir, 'code');
  mkdirSync(join(code, name), { recursive: true });
  for (const [file, text] of Object.entries(files)) writeFileSync(join(code, name, file), text);
  const spec = { pipeline: { name }, transform, input: { pfs: { repo: 'in', glob: '/*' } } };
  writeFileSync(join(code, `${name}.json`), JSON.stringify(spec));
  await stack.tusk(['create', 'pipeline', '-f', join(code, `${name}.json`)]);
  expect((await stack.client.ended(`${name}_build`)).reason).toBe('');
  expect((await stack.client.ended(name)).reason).toBe('');
  const made = await stack.client.files(name, 'master');
  expect(made).toEqual({ '/all': 'input\ninside\ninside\nsource\n' });
  expect((await stack.tusk(['logs', '-p', name])).stdout).not.toContain('on the host');
});
