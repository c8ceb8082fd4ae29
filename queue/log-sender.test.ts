import { describe, expect, it } from 'vitest';
import { WallClock } from '../test/support/wall-clock.js';
import { until } from '../test/support/until.js';
import { LogSender } from './log-sender.js';
import { linesOf, restRow, sharedRow } from './log-text.js';
import type { LogLine } from './messages.js';

const line = (job: string, number: number, message = 'x', task = 0): LogLine => ({
  ...{ ts: 1, pipeline: 'p', job, task, attempt: 0, line: number, worker: 'w', datum: '' },
  ...{ user: true, message },
});

function sender() {
  const sent: { subject: string; lines: LogLine[] }[] = [];
  const log = new LogSender({
    clock: new WallClock('2024-01-01T00:00:00Z'),
    send: (subject, text) => sent.push({ subject, lines: [...linesOf(text)] }),
  });
  const add = (one: LogLine): void => log.add(one, JSON.stringify(one));
  return { sent, log, add };
}

describe('LogSender', () => {
  it('sends the lines of a job together, in order, without being asked', async () => {
    const { sent, add } = sender();
    const lines = [line('a', 0), line('b', 0, 'two\nlines'), line('a', 1)];
    lines.forEach(add);
    expect(sent).toEqual([]);
    await until('the first lines are sent', () => sent.length > 0);
    expect(sent).toEqual([
      { subject: 'log.p.a', lines: [lines[0], lines[2]] },
      { subject: 'log.p.b', lines: [lines[1]] },
    ]);
    add(line('a', 2));
    await until('the next line is sent', () => sent.length > 2);
    expect(sent[2]?.lines).toEqual([line('a', 2)]);
  });

  it('cuts messages that would get too long', () => {
    const { sent, log, add } = sender();
    const long = 'y'.repeat(60_000);
    for (let i = 0; i < 5; i += 1) add(line('a', i, long));
    log.flush();
    expect(sent.map(({ lines }) => lines.length)).toEqual([2, 2, 1]);
    expect(sent.flatMap(({ lines }) => lines.map((one) => one.line))).toEqual([0, 1, 2, 3, 4]);
  });

  it('sends what lines have in common once', () => {
    const texts: string[] = [];
    const clock = new WallClock('2024-01-01T00:00:00Z');
    const log = new LogSender({ clock, send: (_subject, text) => texts.push(text) });
    const lines = [0, 1, 2, 3].map((number) => line('a', number));
    lines.splice(2, 0, line('a', 9, 'by itself'));
    for (const { ts, line: number, user, message, ...shared } of lines) {
      if (number === 9) log.add(shared, JSON.stringify({ ...shared, ts, line: 9, user, message }));
      else log.add(shared, restRow(ts, number, user, message), sharedRow(shared));
    }
    log.flush();
    expect(texts.flatMap((text) => [...linesOf(text)])).toEqual(lines);
    expect(texts.join('').split('"worker"')).toHaveLength(3);
  });

  it('begins every message with what its lines share', () => {
    const { sent, log } = sender();
    const { ts, user, message, line: _, ...shared } = line('a', 0, 'z'.repeat(60_000));
    for (let i = 0; i < 5; i += 1)
      log.add(shared, restRow(ts, i, user, message), sharedRow(shared));
    log.flush();
    expect(sent.map(({ lines }) => lines.map((one) => one.line))).toEqual([[0, 1], [2, 3], [4]]);
    expect(sent.flatMap(({ lines }) => lines.map((one) => one.worker))).toEqual(Array(5).fill('w'));
  });

  it("sends the coordinator's lines at once, after those that wait", () => {
    const { sent, add } = sender();
    add(line('a', 0));
    add(line('a', 1, 'job finished', -1));
    expect(sent.flatMap(({ lines }) => lines.map(({ line: number }) => number))).toEqual([0, 1]);
  });
});
