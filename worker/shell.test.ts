import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { quote, runScript } from './shell.js';

const command = { env: {}, cwd: '/', stdin: '', timeoutMs: 0 };

/** Runs a script as the agent would, with a stand-in for what ends a run. */
function run(script: string): string {
  return execFileSync('/bin/sh', ['-c', `c() { :; }\ne() { echo "end $?"; }\n${script}`], {
    encoding: 'latin1',
    env: { PATH: process.env.PATH ?? '' },
    stdio: ['ignore', 'pipe', 'pipe', 'ignore'],
  });
}

describe('scripts for the agent', () => {
  it('quotes everything a shell would look at', () => {
    const words = ["it's", '$HOME `id` "x" \\ *', 'two\nlines', '', '-n', 'ü'];
    const out = execFileSync('/bin/sh', ['-c', `printf '[%s]' ${words.map(quote).join(' ')}`]);
    expect(out.toString()).toBe(words.map((word) => `[${word}]`).join(''));
  });

  it('runs programs, never builtins, and answers the exit code', () => {
    expect(run(runScript({ ...command, argv: ['sh', '-c', 'exit 7'] }, { token: 'T' }))).toBe(
      'end 7\n',
    );
    expect(run(runScript({ ...command, argv: ['echo', '-n', 'x'] }, { token: 'T' }))).toBe(
      'xend 0\n',
    );
    expect(run(runScript({ ...command, argv: ['exit', '3'] }, { token: 'T' }))).toBe('end 127\n');
  });

  it('sets exactly the variables, whatever their names', () => {
    const env = { A: "1'2", 'x-y': 'z', IFS: 'q', PPID: '5', 'in.put': '' };
    const out = run(runScript({ ...command, env, argv: ['/usr/bin/env'] }, { token: 'T' })).split(
      '\n',
    );
    expect(out).toEqual(
      expect.arrayContaining(["A=1'2", 'x-y=z', 'IFS=q', 'PPID=5', 'in.put=', 'PWD=/', 'end 0']),
    );
    expect(out.some((line) => line.startsWith('OLDPWD='))).toBe(false);
  });

  it('has variables of a run beside and in place of those that were told before', () => {
    const env = { A: '1', B: "2'", 'x-y': '3' };
    const first = { ...command, env, own: { A: '4', C: '5\n6', 'x-y': '7' }, argv: ['env'] };
    const second = { ...command, env, own: {}, argv: ['env'] };
    const out = run(
      runScript(first, { token: 'T' }) +
        runScript(second, { token: 'U', known: true, empty: true }),
    );
    const [one = '', two = ''] = out.split('end 0\n');
    for (const text of ['A=4\n', "B=2'\n", 'C=5\n6\n', 'x-y=7\n']) expect(one).toContain(text);
    for (const text of ['A=1\n', "B=2'\n", 'x-y=3\n']) expect(two).toContain(text);
    expect(two).not.toContain('C=');
  });

  it('does not take a program with "=" in its name for a variable', () => {
    const env = { 'x-y': 'z' };
    expect(run(runScript({ ...command, env, argv: ['a=b'] }, { token: 'T' }))).toBe('end 127\n');
  });

  it('feeds standard input as it is', () => {
    const stdin = '$HOME `id`\nEOF\n\\\n';
    expect(run(runScript({ ...command, stdin, argv: ['cat'] }, { token: 'T' }))).toBe(
      `${stdin}end 0\n`,
    );
  });
});
