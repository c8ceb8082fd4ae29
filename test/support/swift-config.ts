/** Configuration files of a one-machine OpenStack Swift with its S3 API. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { needProgram } from './server-process.js';

export interface SwiftPorts {
  readonly proxy: number;
  readonly account: number;
  readonly container: number;
  readonly object: number;
  readonly memcached: number;
}

export const SWIFT_PACKAGES =
  'swift-proxy swift-account swift-container swift-object memcached --no-install-recommends';

/** Writes configs and rings under `dir`; the config file of each server by name. */
export function writeSwiftConfig(
  dir: string,
  ports: SwiftPorts,
): Record<'proxy' | 'account' | 'container' | 'object', string> {
  mkdirSync(join(dir, 'devices', 'sdb1'), { recursive: true });
  const write = (name: string, text: string): string => {
    const file = join(dir, name);
    writeFileSync(file, text);
    return file;
  };
  write('swift.conf', SWIFT_CONF);
  for (const type of ['account', 'container', 'object'] as const) {
    const builder = join(dir, `${type}.builder`);
    const ring = (...args: string[]): void => {
      const program = needProgram('swift-ring-builder', SWIFT_PACKAGES);
      // The builder exits with 1 for warnings.
      try {
        execFileSync(program, [builder, ...args], { stdio: 'pipe' });
      } catch (error) {
        if ((error as { status?: number }).status !== 1) throw error;
      }
    };
    ring('create', '4', '1', '1');
    ring('add', `r1z1-127.0.0.1:${ports[type]}/sdb1`, '1');
    ring('rebalance');
  }
  const backend = (type: 'account' | 'container' | 'object'): string =>
    write(
      `${type}-server.conf`,
      `[DEFAULT]
bind_ip = 127.0.0.1
bind_port = ${ports[type]}
user = ${userInfo().username}
swift_dir = ${dir}
devices = ${join(dir, 'devices')}
mount_check = false
fallocate_reserve = 0
disable_fallocate = true
workers = 0
log_level = ERROR
[pipeline:main]
pipeline = ${type}-server
[app:${type}-server]
use = egg:swift#${type}
`,
    );
  const proxy = write(
    'proxy-server.conf',
    `[DEFAULT]
bind_ip = 127.0.0.1
bind_port = ${ports.proxy}
user = ${userInfo().username}
swift_dir = ${dir}
workers = 0
log_level = ERROR
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck proxy-logging cache listing_formats s3api tempauth copy slo dlo proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:proxy-logging]
use = egg:swift#proxy_logging
access_log_level = ERROR
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:${ports.memcached}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin .reseller_admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
`,
  );
  return {
    proxy,
    account: backend('account'),
    container: backend('container'),
    object: backend('object'),
  };
}

const SWIFT_CONF = `[swift-hash]
swift_hash_path_suffix = test
swift_hash_path_prefix = test
[storage-policy:0]
name = Policy-0
default = yes
`;
