import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import { parseAnswer, WarmChannel, type WarmAnswer } from './warm-channel.js';

it('reads answers', () => {
  expect(parseAnswer('{"done":true}')).toEqual({});
  expect(parseAnswer('{"error":"bad pixel","more":1}')).toEqual({ error: 'bad pixel' });
  for (const line of ['done', '[]', 'null', '{"done":1}', '{}', '7']) {
    expect(parseAnswer(line)).toMatchObject({ fatal: true, error: expect.stringContaining('is ') });
  }
});

it('sends one line per request and gives its answer to whoever asked', async () => {
  const requests = new PassThrough();
  const answers = new PassThrough();
  const channel = new WarmChannel(requests, answers);
  const ask = (line: string): Promise<WarmAnswer> =>
    new Promise((resolve) => channel.ask(line, resolve));
  const first = ask('{"datum":"a"}');
  answers.write('{"done":');
  answers.write('true}\n');
  expect(await first).toEqual({});
  const second = ask('{"datum":"b"}');
  answers.write('\n{"error":"no"}\n');
  expect(await second).toEqual({ error: 'no' });
  expect((requests.read() as Buffer).toString()).toBe('{"datum":"a"}\n{"datum":"b"}\n');
});
