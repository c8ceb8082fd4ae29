/** edit pipeline: the spec in an editor, sent back when it changed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { invalidInput } from '../../core/errors.js';
import { InspectPipelineRequest } from '../../proto/generated/pps.js';
import type { Call } from '../grammar/command.js';
import { SNAKE, jsonText, toJson } from '../wire/to-json.js';
import { noteJoined } from './joins.js';
import { formatName } from './output.js';
import { readSpecs, sendAll, specOf } from './pipeline-spec.js';
import { ppsOf } from './pps-client.js';

export async function editPipeline({ session, args, flags }: Call): Promise<void> {
  const [name = ''] = args;
  const format = formatName(flags.text('output'));
  const { client, pps } = await ppsOf(session);
  const info = await client.unary(
    pps.inspectPipeline,
    InspectPipelineRequest.fromPartial({ pipeline: { name } }),
  );
  const json = toJson(specOf(info), 'pps.CreatePipelineRequest', SNAKE);
  const before = format === 'json' ? jsonText(json) : (await import('yaml')).stringify(json);
  const folder = await mkdtemp(join(tmpdir(), 'tusk-edit-'));
  try {
    const file = join(folder, `${name}.${format}`);
    await writeFile(file, before);
    const editor = flags.text('editor') || session.env['EDITOR'] || 'vim';
    const [program = '', ...words] = editor.split(' ').filter((word) => word !== '');
    const child = spawn(program, [...words, file], { stdio: 'inherit' });
    const [code] = (await once(child, 'close').catch((error: unknown) => {
      throw invalidInput(
        `could not run the editor "${editor}": ${String(error)}; choose one with --editor`,
      );
    })) as [number];
    if (code !== 0)
      throw invalidInput(
        `the editor "${editor}" ended with exit code ${code}; nothing was changed`,
      );
    if ((await readFile(file, 'utf8')) === before) {
      session.note('Pipeline unchanged, no update will be performed');
      return;
    }
    const how = { update: true, reprocess: flags.bool('reprocess'), base: '.' };
    await sendAll(session, await readSpecs(session, file), how);
    await noteJoined(session);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
