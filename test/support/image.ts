/** A small image in the real podman of this machine: a static busybox with something of its own. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tempDir } from './temp-dir.js';

const APPLETS = 'sh cat ls cp sleep rm echo id env pwd su touch ps'.split(' ');

export const podman = (...args: string[]): string =>
  execFileSync('podman', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** The image can build pipelines: its own build.sh, in its working directory. */
const BUILDER = [
  'cat of-the-image /pfs/source/text > /pfs/out/built',
  'echo "cat /pfs/in/* /srv/of-the-image /pfs/build/built > /pfs/out/all" > /pfs/out/run.sh',
].join('\n');

/** Imports it under this name; `podman('rmi', name)` takes it away. */
export async function importImage(name: string): Promise<void> {
  await using dir = await tempDir('image');
  for (const folder of ['bin', 'usr/bin', 'etc', 'srv']) {
    mkdirSync(join(dir.path, 'root', folder), { recursive: true });
  }
  const root = join(dir.path, 'root');
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  for (const applet of APPLETS) symlinkSync('busybox', join(root, 'bin', applet));
  symlinkSync('/bin/busybox', join(root, 'usr/bin/env'));
  writeFileSync(
    join(root, 'etc/passwd'),
    'root:x:0:0::/root:/bin/sh\napp:x:1234:1234::/home/app:/bin/sh\n',
  );
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\napp:x:1234:\n');
  writeFileSync(join(root, 'srv/of-the-image'), 'inside\n');
  writeFileSync(join(root, 'srv/build.sh'), BUILDER);
  execFileSync('tar', ['-C', root, '-cf', join(dir.path, 'image.tar'), '.']);
  const changes = ['ENV GREETING=hello', 'ENV PATH=/bin:/usr/bin', 'USER app', 'WORKDIR /srv'];
  const entry = 'ENTRYPOINT ["/bin/cat","of-the-image"]';
  const flags = [...changes, entry].flatMap((change) => ['--change', change]);
  podman('import', ...flags, join(dir.path, 'image.tar'), name);
}
