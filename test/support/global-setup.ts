/** Integration tests run the real bundles: make sure they are those of this source. */
import { execFileSync } from 'node:child_process';

export default function setup(): void {
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  execFileSync(process.execPath, ['scripts/build.mjs'], { stdio: 'inherit' });
}
