import { join } from 'node:path';
import { expect, it } from 'vitest';
import { cliReference } from './reference.js';

// After a change of commands: npx vitest run -c vitest.config.ts cli/grammar/reference.test.ts -u
it('docs/cli-reference.md is what the program says', async () => {
  const page = join(import.meta.dirname, '..', '..', 'docs', 'cli-reference.md');
  await expect(cliReference()).toMatchFileSnapshot(page);
});
