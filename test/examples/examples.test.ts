/** Every tutorial in examples/ with a `run`: it succeeds, and its README is what it types. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const FOLDER = join(import.meta.dirname, '../../examples');
const names = readdirSync(FOLDER).filter((name) => existsSync(join(FOLDER, name, 'run')));
/** With the packages to install and, for clients, compilers at work. */
const LIMIT_MS = 1_200_000;

function run(name: string): Promise<{ code: number | null; out: string; err: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(join(FOLDER, name, 'run'), { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    child.stdout.on('data', (text) => (out += String(text)));
    child.stderr.on('data', (text) => (err += String(text)));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
  });
}

const commands = (text: string): string[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('$ '))
    .map((line) => line.slice(2));

/** Commands in the README's blocks of terminal text. */
const told = (name: string): string[] => {
  const readme = readFileSync(join(FOLDER, name, 'README.md'), 'utf8');
  return [...readme.matchAll(/```console\n(.*?)```/gs)].flatMap(([, block]) =>
    commands(block ?? ''),
  );
};

describe('examples', () => {
  it('are there', () => {
    expect(names).toEqual([
      'captions',
      'clients',
      'deferred',
      'edge',
      'faces',
      'hub-101',
      'iris',
      'shuffle',
      'wordcount',
    ]);
  });

  for (const name of names) {
    it(
      name,
      async () => {
        const { code, out, err } = await run(name);
        expect({ code, trouble: code === 0 ? '' : `${out.slice(-4000)}\n${err}` }).toEqual({
          code: 0,
          trouble: '',
        });
        expect(commands(out)).toEqual(told(name));
      },
      LIMIT_MS,
    );
  }
});
