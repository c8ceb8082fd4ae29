import { expect, it } from 'vitest';
import { WorkerConfig } from '../proto/generated/tusk.js';
import { asSeenFrom } from './join.js';

it('takes the joined host for servers that listen on every address', () => {
  const seen = (natsUrl: string): string =>
    asSeenFrom(WorkerConfig.fromPartial({ natsUrl }), '10.1.0.7:30650').natsUrl;
  expect(seen('nats://0.0.0.0:4222')).toBe('nats://10.1.0.7:4222');
  expect(seen('nats://10.9.9.9:4222')).toBe('nats://10.9.9.9:4222');
});
