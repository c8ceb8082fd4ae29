// Makes a fresh clone able to run: npm packages, the bundles, and the real servers. What may not be
// installed here is named with the exact command to type.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** program → Debian package. */
const SERVERS = {
  etcd: 'etcd-server',
  'nats-server': 'nats-server',
};
/** What only the tests and the strongest isolation need. */
const TEST_SERVERS = {
  ...SERVERS,
  bwrap: 'bubblewrap',
  podman: 'podman',
  // Asked for by name, podman would bring crun, which needs more rights than containers often have.
  runc: 'runc',
  netavark: 'netavark',
  busybox: 'busybox-static',
  'swift-proxy-server': 'swift-proxy',
  'swift-account-server': 'swift-account',
  'swift-container-server': 'swift-container',
  'swift-object-server': 'swift-object',
  memcached: 'memcached',
  // The examples.
  python3: 'python3',
  'python3 with venv': 'python3-venv',
  curl: 'curl',
};
/** Names above that are no programs: what succeeds when they are there. */
const VENV = "-c 'import venv, ensurepip' 2>/dev/null";
const PROBES = {
  'python3 with venv': `python3 ${VENV} || /usr/bin/python3 ${VENV}`,
  netavark: 'test -e /usr/lib/podman/netavark || command -v netavark',
};

/** Installs npm packages when node_modules is missing or older than the lock file. */
export function ensurePackages() {
  const stamp = join(root, 'node_modules/.package-lock.json');
  const lock = join(root, 'package-lock.json');
  const fresh = existsSync(stamp) && statSync(stamp).mtimeMs >= statSync(lock).mtimeMs;
  if (!fresh) {
    console.log('Installing npm packages …');
    execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: root, stdio: 'inherit' });
  }
  if (!fresh || !existsSync(join(root, 'dist/cli.cjs'))) build();
}

export function build() {
  execFileSync(process.execPath, [join(root, 'scripts/build.mjs')], { stdio: 'inherit' });
}

function isThere(name) {
  const probe = PROBES[name];
  return probe ? spawnSync('sh', ['-c', probe]).status === 0 : findProgram(name) !== undefined;
}

/** Absolute path of a program, also where Debian keeps daemons, or undefined. */
export function findProgram(name) {
  const dirs = [
    ...(process.env.PATH ?? '').split(delimiter),
    '/usr/local/sbin',
    '/usr/sbin',
    '/sbin',
  ];
  return dirs.map((dir) => join(dir, name)).find((file) => existsSync(file));
}

/** Installs the servers that are missing, or says exactly how and throws. */
export function ensureServers({ forTests = false } = {}) {
  const wanted = forTests ? TEST_SERVERS : SERVERS;
  const missing = Object.entries(wanted).filter(([program]) => !isThere(program));
  if (missing.length === 0) return;
  const packages = missing.map(([, name]) => name);
  const apt = findProgram('apt-get');
  const isRoot = process.getuid?.() === 0;
  const sudo = !isRoot && findProgram('sudo') && spawnSync('sudo', ['-n', 'true']).status === 0;
  const command = `${isRoot ? '' : 'sudo '}apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  if (!apt || !(isRoot || sudo)) {
    throw new Error(
      `missing: ${missing.map(([program]) => program).join(', ')}. Install them, then run this again:\n  ` +
        (apt ? command : `with your package manager: ${packages.join(' ')} (Debian names)`),
    );
  }
  console.log(`Installing ${packages.join(', ')} …`);
  const prefix = isRoot ? [] : ['sudo', '-n'];
  // Debian starts a daemon right after installing it; ours run on ports of their own.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const run = (...args) => {
    const [program, ...rest] = [
      ...prefix,
      'env',
      'DEBIAN_FRONTEND=noninteractive',
      'RUNLEVEL=1',
      ...args,
    ];
    return spawnSync(program, rest, { env, encoding: 'utf8' });
  };
  const install = ['apt-get', 'install', '-y', '--no-install-recommends', ...packages];
  let result = run(...install);
  if (result.status !== 0) {
    run('apt-get', 'update');
    result = run(...install);
  }
  const still = Object.keys(wanted).filter((program) => !isThere(program));
  if (still.length > 0) {
    throw new Error(
      `could not install ${still.join(', ')}:\n${result.stderr}\nTry by hand:\n  ${command}`,
    );
  }
}
