import { expect, it } from 'vitest';
import { readConfig } from './config.js';
import { findUser } from './users.js';

const good = ['--join', 'a:1,b:2', '--data-dir', '/d', '--slots', '3', '--label', 'k=v=w'];

it('reads the command line', () => {
  const config = readConfig(good, { PATH: '/bin', SECRET: 'x', TZ: 'UTC' });
  expect(config).toMatchObject({ addresses: ['a:1', 'b:2'], slots: 3, labels: { k: 'v=w' } });
  expect(config.inherited).toEqual({ PATH: '/bin', TZ: 'UTC' });
});

it('names the flag that is wrong', () => {
  const wrong: [string[], RegExp][] = [
    [['--data-dir', '/d'], /--join/],
    [['--join', 'host', '--data-dir', '/d'], /--join host: expected HOST:PORT/],
    [['--join', 'a:1'], /--data-dir/],
    [[...good, '--slots', '0'], /--slots 0/],
    [[...good, '--label', 'x'], /--label x/],
    [[...good, '--isolation', 'vm'], /--isolation vm: expected bwrap/],
    [[...good, '--nope'], /nope/],
  ];
  for (const [argv, text] of wrong) expect(() => readConfig(argv, {})).toThrow(text);
});

it('finds users by name and number', () => {
  expect(findUser('', { uid: 0 })).toBeUndefined();
  expect(findUser('root', { uid: 0 })).toBeUndefined();
  expect(findUser('nobody', { uid: 0 })).toMatchObject({ name: 'nobody' });
  expect(() => findUser('nemo', { uid: 0 })).toThrow('user nemo not found');
  expect(() => findUser('nobody', { uid: 1000 })).toThrow(/does not run as root/);
});
