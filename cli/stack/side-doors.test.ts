import { createServer, type Server } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codeOf, messageOf } from '../../core/errors.js';
import type { Call } from '../grammar/command.js';
import { freePort } from './ports.js';
import { doorFlags, doorSettings, doorsText, doorWishes } from './side-doors.js';

const HOST = '127.0.0.1';
let taken: Server;
let port = 0;

beforeEach(async () => {
  taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, HOST, resolve));
  port = (taken.address() as { port: number }).port;
});
afterEach(() => new Promise<unknown>((resolve) => taken.close(resolve)));

/** The part of a call that is looked at. */
function call(given: Record<string, number>): Call {
  const flags = {
    number: (name: string) => given[name] ?? port,
    given: (name: string) => name in given,
  };
  return { flags } as unknown as Call;
}

describe('side doors', () => {
  it('open elsewhere when their usual place is taken', async () => {
    const settings = await doorSettings(HOST, doorWishes(call({})));
    expect(settings['s3Listen']).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(settings['s3Listen']).not.toBe(`${HOST}:${port}`);
    expect(settings['giveWay']).toEqual(['s3Listen', 'httpListen', 'webhookListen']);
  });

  it('stay shut with an error when the place that was asked for is taken', async () => {
    const wishes = doorWishes(call({ 'http-port': port, 's3-gateway-port': 0 }));
    const failure = await doorSettings(HOST, wishes).catch((error: unknown) => error);
    expect(codeOf(failure)).toBe('STATE_CONFLICT');
    expect(messageOf(failure)).toContain('--http-port N');
    expect(doorFlags(wishes)).toEqual(['--s3-gateway-port', '0', '--http-port', String(port)]);
  });

  it('open at any free port for 0, and refuse what is no port', async () => {
    const wishes = doorWishes(call({ 'http-port': 0, 's3-gateway-port': 0, 'webhook-port': 0 }));
    const settings = await doorSettings(HOST, wishes);
    expect(settings['httpListen']).not.toMatch(/:0$/);
    expect(settings['giveWay']).toEqual(['s3Listen', 'httpListen', 'webhookListen']);
    const one = await doorSettings(HOST, doorWishes(call({ 'http-port': await freePort(HOST) })));
    expect(one['giveWay']).toEqual(['s3Listen', 'webhookListen']);
    expect(() => doorWishes(call({ 'http-port': 65_536 }))).toThrow('--http-port');
  });

  it('are told to people', () => {
    expect(doorsText('h', { s3: 1, http: 2 })).toBe(
      'S3 gateway at http://h:1, HTTP files at http://h:2',
    );
  });
});
