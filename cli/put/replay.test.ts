import { expect, it } from 'vitest';
import { Replay } from './replay.js';

async function* parts(...list: string[]): AsyncGenerator<string> {
  yield* list;
}

async function rest(replay: Replay): Promise<string> {
  let text = '';
  for (let next = await replay.next(); next.done !== true; next = await replay.next()) {
    text += next.value.toString();
  }
  return text;
}

it('reads the last bytes of an input once more, from any of them', async () => {
  const replay = new Replay(() => parts('abc', 'def', 'ghi', 'jkl'), 5);
  for (let i = 0; i < 3; i += 1) await replay.next();
  expect([2, 10].map((offset) => replay.rewind(offset))).toEqual([false, false]);
  expect(replay.rewind(4)).toBe(true);
  expect((await replay.next()).value?.toString()).toBe('ef');
  expect(replay.rewind(8)).toBe(true);
  expect(await rest(replay)).toBe('ijkl');
  expect(replay.rewind(7)).toBe(true);
  expect(await rest(replay)).toBe('hijkl');
});

it('opens its input when it is wanted', async () => {
  let opened = 0;
  const replay = new Replay(() => {
    opened += 1;
    return parts('x');
  });
  expect(replay.rewind(0)).toBe(true);
  expect(opened).toBe(0);
  expect(await rest(replay)).toBe('x');
  expect(opened).toBe(1);
});
