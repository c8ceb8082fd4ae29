/** The job of the fault tests when nothing goes wrong: what every disturbed run must equal. */
import { it } from 'vitest';
import { disturb } from './job.js';

it('every datum once, every output as written, on a directory store', async () => {
  await disturb({}, () => Promise.resolve());
});

it('every datum once, every output as written, on an S3 store', async () => {
  await disturb({ store: 's3' }, () => Promise.resolve());
});
