// node examples/transcribe.mjs NAME: runs examples/NAME/run and writes its real output into the
// ```console blocks of the README beside it. In a block, lines that begin with `$ ` are commands; what
// stands below one is replaced. Commands come in the order in which they are typed.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const name = process.argv[2] ?? '';
const folder = join(dirname(fileURLToPath(import.meta.url)), name);
const ran = spawnSync(join(folder, 'run'), {
  encoding: 'utf8',
  env: { ...process.env, NO_COLOR: '1' },
});
process.stderr.write(ran.stderr);
if (ran.status !== 0) throw new Error(`${name}/run failed:\n${ran.stdout}`);

/** Commands in order, each with what it printed. */
const typed = [];
for (const line of ran.stdout.split('\n')) {
  if (line.startsWith('$ ')) typed.push({ command: line.slice(2), output: [] });
  else if (line.startsWith('# ')) typed.push({ command: undefined, output: [] });
  else typed.at(-1)?.output.push(line.trimEnd());
}

let at = -1;
function outputOf(command) {
  const found = typed.findIndex((one, index) => index > at && one.command === command);
  if (found < 0)
    throw new Error(`README.md of ${name}: not typed after the one before: ${command}`);
  at = found;
  return typed[found].output.join('\n').trimEnd();
}

const file = join(folder, 'README.md');
const readme = readFileSync(file, 'utf8').replaceAll(/```console\n(.*?)```/gs, (_, block) => {
  const commands = block.split('\n').filter((line) => line.startsWith('$ '));
  const lines = commands.flatMap((line) => {
    const output = outputOf(line.slice(2));
    return output === '' ? [line] : [line, output];
  });
  return `\`\`\`console\n${lines.join('\n')}\n\`\`\``;
});
writeFileSync(file, readme);
