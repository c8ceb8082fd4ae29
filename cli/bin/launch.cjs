// Starts the bundled CLI with V8's code cache, so that a cold `tusk` answers in a tenth of a second.
// The cache is written beside the bundle (or into the user's cache folder when the checkout is
// read-only), is keyed by Node's version and the bundle's size and time, and grows by the functions
// of each command that is used for the first time. A cache that can not be read or written is never
// an error.
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

  const cache = readCache(files);
  const source = fs.readFileSync(bundle, 'latin1');
  const wrapper = `(function (exports, require, module, __filename, __dirname) {${source}\n})`;
  const script = new vm.Script(wrapper, { filename: bundle, cachedData: cache.data });
  if (script.cachedDataRejected) cache.commands = [];
  // After a command the functions it used are compiled; the cache then holds exactly those.
  globalThis.__tuskBeforeExit = (command) => {
    if (!cache.commands.includes(command)) writeCache(script, [...cache.commands, command], files);
  };
  const module_ = { exports: {} };
  const require_ = require('node:module').createRequire(bundle);
  script.runInThisContext()(module_.exports, require_, module_, bundle, dist);
}

/** A cache file is V8's data, the commands it serves as JSON, and the length of that JSON. */
function readCache(files) {
  for (const file of files) {
    try {
      const bytes = fs.readFileSync(file);
      const end = bytes.length - 4;
      const start = end - bytes.readUInt32LE(end);
      const commands = JSON.parse(bytes.toString('utf8', start, end));
      return { data: bytes.subarray(0, start), commands };
    } catch {
      // Not there or torn: the next place, or compile from source.
    }
  }
  return { data: undefined, commands: [] };
}

function writeCache(script, commands, files) {
  const words = Buffer.from(JSON.stringify(commands));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(words.length);
  const bytes = Buffer.concat([script.createCachedData(), words, length]);
  for (const file of files) {
    const temporary = `${file}.${process.pid}.tmp`;
    try {
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(temporary, bytes);
      fs.renameSync(temporary, file);
      return;
    } catch {
      // Read-only or full: try the next place; without a cache everything still works.
    }
  }
}

main();
