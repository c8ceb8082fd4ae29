import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { Part } from './part.js';

async function failureOf(script: string): Promise<unknown> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-part-'));
  try {
    const part = new Part(
      {
        ...{ name: 'nats', command: process.execPath, args: ['-e', script], env: process.env },
        ...{ cwd: dir, port: undefined, output: join(dir, 'out'), log: 'its.log', graceMs: 100 },
        ready: (signal) => systemClock.sleep(30_000, { signal }),
      },
      { clock: systemClock, report: () => undefined, changed: () => undefined },
    );
    return await part.start().then(
      () => undefined,
      (error: unknown) => error,
    );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

describe('a part that can not start', () => {
  it('tells a clash of ports, which another try may settle, from other failures', async () => {
    const taken = `console.error('listen tcp 127.0.0.1:4: bind: address already in use'); process.exit(1)`;
    expect(await failureOf(taken)).toMatchObject({
      fields: { portTaken: true },
      message: expect.stringContaining('could not start (exit code 1): listen tcp'),
    });
    const other = `console.error('fatal: no such flag'); process.exit(2)`;
    expect(await failureOf(other)).toMatchObject({
      fields: { portTaken: false },
      message: expect.stringContaining('fatal: no such flag'),
    });
  });
});
