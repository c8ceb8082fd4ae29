/** The commands around transactions, and `delete all`, as a person types them. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { NEVER } from '../../core/signals.js';
import type { CliResult } from '../support/cli-run.js';
import { cliServers, type CliServer } from '../support/shared.js';

const wait = { signal: NEVER };
const UUID = '[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}';
let server: CliServer['server'];
let dir: CliServer['dir'];
let env: CliServer['env'];
let tusk: CliServer['tusk'];

cliServers((made) => {
  ({ server, dir, env, tusk } = made);
});

const ok = async (line: string): Promise<CliResult> => {
  const result = await tusk(line);
  expect(result, line).toMatchObject({ code: 0 });
  return result;
};
const says = (stdout: string, stderr = ''): CliResult => ({ code: 0, stdout, stderr });
const fails = (stderr: string): CliResult => ({ code: 1, stdout: '', stderr: `${stderr}\n` });
const begin = async (): Promise<string> => {
  const { stdout } = await ok('start transaction');
  const id = new RegExp(`^started new transaction: "(${UUID})"\n$`).exec(stdout)?.[1];
  expect(id, stdout).toBeDefined();
  return id as string;
};
const active = (): unknown => {
  const config = JSON.parse(readFileSync(env['PACH_CONFIG'] as string, 'utf8')) as {
    v2: { contexts: Record<string, { active_transaction?: string }> };
  };
  return config.v2.contexts['default']?.active_transaction;
};

it('collects changes and makes them at once', async () => {
  await ok('create repo old');
  const id = await begin();
  expect(active()).toBe(id);
  const added = `Added to transaction: ${id}\n`;
  expect(await tusk('create repo in')).toEqual(says('', added));
  expect(await tusk('update repo in -d text')).toEqual(says('', added));
  expect(await tusk('create branch in@side')).toEqual(says('', added));
  const started = await tusk('start commit in@master');
  expect(started).toMatchObject({ code: 0, stderr: added });
  const commit = started.stdout.trim();
  expect(await tusk('finish commit in@master')).toEqual(says('', added));
  expect(await tusk('delete branch in@side')).toEqual(says('', added));
  expect(await tusk('delete repo old --force')).toEqual(says('', added));
  expect(await tusk('create-repo in')).toEqual(
    fails('error running request 8 of 8: repo in already exists'),
  );
  expect((await ok('list repo')).stdout).not.toContain('in ');
  const { stdout } = await ok('inspect transaction');
  expect(stdout).toBe(
    `ID: ${id}\nStarted: Less than a second ago\nRequests:\n` +
      '  create repo in\n  update repo in\n  create branch in@side\n' +
      `  start commit in@master (${commit})\n  finish commit in@master\n` +
      '  delete branch in@side\n  delete repo old  --force\n',
  );
  expect(await tusk('finish transaction')).toEqual(
    says(`Completed transaction with 7 requests: ${id}\n`),
  );
  expect(active()).toBeUndefined();
  const repos = await server.stack.versioning.listRepos(wait);
  expect(repos.map(({ name, branches }) => [name, branches])).toEqual([['in', ['master']]]);
  const head = await server.stack.versioning.resolveCommit({ repo: 'in', id: 'master' }, wait);
  expect(head.id).toBe(commit);
});

it('stops, resumes, lists and deletes', async () => {
  const first = await begin();
  expect(await tusk('start transaction')).toEqual(
    fails(`cannot start a new transaction, since transaction with ID "${first}" already exists`),
  );
  await ok('create repo in');
  expect(await tusk('stop transaction')).toEqual(says(`Cleared active transaction: ${first}\n`));
  for (const verb of ['stop', 'finish', 'delete', 'inspect']) {
    expect(await tusk(`${verb} transaction`)).toEqual(fails('no active transaction'));
  }
  expect(await tusk('create repo now')).toEqual(says(''));
  const second = await begin();
  const list = (await ok('list transaction')).stdout.split('\n');
  expect(list[0]).toMatch(/^TRANSACTION +STARTED +OPS $/);
  expect(list[1]).toMatch(new RegExp(`^${second} Less than a second ago 0$`));
  expect(list[2]).toMatch(new RegExp(`^${first} .* 1$`));
  expect((await ok(`inspect transaction ${second}`)).stdout).toContain('Requests:\n  -\n');
  const raw = JSON.parse((await ok(`inspect transaction ${first} --raw`)).stdout) as object;
  expect(raw).toMatchObject({
    transaction: { id: first },
    requests: [{ createRepo: { repo: { name: 'in' } } }],
  });
  expect(await tusk(`resume transaction ${first}`)).toEqual(
    says(`Resuming existing transaction with 1 requests: ${first}\n`),
  );
  expect(active()).toBe(first);
  expect(await tusk(`delete transaction ${second}`)).toEqual(says(''));
  expect(active()).toBe(first);
  expect(await tusk('delete transaction')).toEqual(says(''));
  expect(active()).toBeUndefined();
  expect(await tusk(`resume transaction ${first}`)).toEqual(
    fails(`/pachyderm_pfs/transactions/ ${first} not found`),
  );
  expect((await ok('list transaction')).stdout.trimEnd().split('\n')).toHaveLength(1);
});

it('takes pipelines into a transaction', async () => {
  await ok('create repo in');
  const spec = join(dir.path, 'spec.json');
  const input = { pfs: { repo: 'in', glob: '/*' } };
  writeFileSync(
    spec,
    JSON.stringify({ pipeline: { name: 'p' }, transform: { cmd: ['true'] }, input }),
  );
  const id = await begin();
  expect(await tusk(`create pipeline -f ${spec}`)).toEqual(
    says('', `Added to transaction: ${id}\n`),
  );
  expect((await ok('inspect transaction')).stdout).toContain('\n  create pipeline p\n');
  expect((await ok('list pipeline')).stdout.trimEnd().split('\n')).toHaveLength(1);
  await ok('finish transaction');
  expect((await ok('list pipeline')).stdout).toMatch(/^p /m);
});

it('deletes everything, after asking', async () => {
  await ok('create repo in');
  await ok('start commit in@master');
  const id = await begin();
  await ok('create repo later');
  const refused = await tusk('delete all', 'n\n');
  expect(refused.stderr).toContain('Repos to delete: in');
  expect(refused.stderr).toContain('Are you sure you want to do this?');
  expect(await server.stack.versioning.listRepos(wait)).toHaveLength(1);
  expect(active()).toBe(id);
  expect(await tusk('delete all', 'y\n')).toMatchObject({ code: 0 });
  expect(await server.stack.versioning.listRepos(wait)).toEqual([]);
  expect(active()).toBeUndefined();
  expect((await ok('list transaction')).stdout.trimEnd().split('\n')).toHaveLength(1);
  expect((await server.stack.versioning.inspectRepo('__spec__', wait)).description).toBe(
    'PPS pipeline specs repo.',
  );
});

it('checks the records, and says what it mended', async () => {
  const { versioning, meta } = server.stack;
  await ok('create repo in');
  expect(await tusk('fsck')).toEqual(says('No errors found.\n'));
  const commit = (await ok('start commit in@master')).stdout.trim();
  await meta.txn({ success: [{ delete: `open/in/${commit}` }] }, wait);
  const { stdout } = await ok('fsck');
  expect(stdout).toContain(`Error: consistency error: the commit ${commit} in repo in is not`);
  expect(stdout).not.toContain('No errors found.');
  expect(await tusk('fsck --fix')).toEqual(
    says(`Fix applied: adding in@${commit} to the open commits\nNo errors found.\n`),
  );
  await versioning.finishCommit({ repo: 'in', id: commit }, {}, wait);
});

it('deletes a repo in many steps at once, whatever transaction is active', async () => {
  await ok('create repo in');
  const id = await begin();
  expect(await tusk('delete repo in --split-txn')).toEqual(says(''));
  expect(await server.stack.versioning.listRepos(wait)).toEqual([]);
  expect((await ok(`inspect transaction ${id}`)).stdout).toContain('  -\n');
});
