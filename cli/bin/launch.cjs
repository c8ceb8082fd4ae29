// Starts the bundled CLI with V8's code cache, so that a cold `tusk` answers in a tenth of a second.
// The cache is written beside the bundle on the first run (or into the user's cache folder when the
// checkout is read-only) and is keyed by Node's version and the bundle's size and time. A cache that
// can not be read or written is never an error.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const vm = require('node:vm');

const dist = path.join(__dirname, '..', '..', 'dist');
const bundle = path.join(dist, 'cli.cjs');

function main() {
  let stat;
  try {
    stat = fs.statSync(bundle);
  } catch {
    process.stderr.write(`Tusk is not built yet. In ${path.join(dist, '..')} run: npm install\n`);
    process.exitCode = 1;
    return;
  }
  const name = `cli-${process.version}-${process.arch}-${stat.size}-${Math.floor(stat.mtimeMs)}.bin`;
  const files = [path.join(dist, 'cache', name)];
  const home =
    process.env.XDG_CACHE_HOME || (process.env.HOME && path.join(process.env.HOME, '.cache'));
  if (home) files.push(path.join(home, 'tusk', name));

  let cachedData;
  for (const file of files) {
    try {
      cachedData = fs.readFileSync(file);
      break;
    } catch {
      // Not there: the next place, or compile from source.
    }
  }
  const source = fs.readFileSync(bundle, 'latin1');
  const wrapper = `(function (exports, require, module, __filename, __dirname) {${source}\n})`;
  const script = new vm.Script(wrapper, { filename: bundle, cachedData });
  const module_ = { exports: {} };
  // After the command the functions it used are compiled; the cache then holds exactly those.
  globalThis.__tuskBeforeExit = () => {
    if (cachedData === undefined || script.cachedDataRejected) writeCache(script, files);
  };
  const require_ = require('node:module').createRequire(bundle);
  script.runInThisContext()(module_.exports, require_, module_, bundle, dist);
}

function writeCache(script, files) {
  const data = script.createCachedData();
  for (const file of files) {
    const temporary = `${file}.${process.pid}.tmp`;
    try {
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(temporary, data);
      fs.renameSync(temporary, file);
      return;
    } catch {
      // Read-only or full: try the next place; without a cache everything still works.
    }
  }
}

main();
