import { expect, it } from 'vitest';
import { Traffic } from './purge.js';

function gate(): { open: () => void; passed: Promise<void> } {
  let open = (): void => undefined;
  const passed = new Promise<void>((resolve) => (open = resolve));
  return { open, passed };
}

it('nothing is published for a pipeline while it is purged; others go on', async () => {
  const traffic = new Traffic();
  const seen: string[] = [];
  const { open, passed } = gate();
  const purge = traffic.purging('p', async (alone) => {
    seen.push(`purge alone=${alone}`);
    await passed;
    seen.push('purged');
  });
  const publish = traffic.publishing(new Set(['p']), async () => void seen.push('published'));
  await traffic.publishing(new Set(['other']), async () => void seen.push('other'));
  open();
  await Promise.all([purge, publish]);
  expect(seen).toEqual(['purge alone=true', 'other', 'purged', 'published']);
});

it('a purge knows that something is being published, also after a failed one', async () => {
  const traffic = new Traffic();
  await expect(traffic.purging('p', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  const { open, passed } = gate();
  const publish = traffic.publishing(new Set(['p']), () => passed);
  const alone: boolean[] = [];
  await traffic.purging('p', async (is) => void alone.push(is));
  open();
  await publish;
  await traffic.purging('p', async (is) => void alone.push(is));
  expect(alone).toEqual([false, true]);
});
