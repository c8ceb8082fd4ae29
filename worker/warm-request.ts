/** What a process that stays alive is told about a datum (docs/warm-mode.md). */
import type { WorkDatum } from '../queue/messages.js';
import { quote } from './shell.js';

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * One line: JSON, or with `TUSK_WARM_FORMAT=sh` in the pipeline's environment assignments that a
 * shell can `eval`.
 */
export function warmRequest(
  datum: Pick<WorkDatum, 'id' | 'inputs'>,
  own: Readonly<Record<string, string>>,
  shared: Readonly<Record<string, string>>,
): string {
  if (shared.TUSK_WARM_FORMAT !== 'sh') {
    const inputs = datum.inputs.map(({ name }) => ({ name, path: own[name] }));
    return JSON.stringify({ datum: datum.id, env: own, inputs });
  }
  const words = Object.entries(own)
    .filter(([name]) => NAME.test(name))
    .map(([name, value]) => `${name}=${oneLine(value)}`);
  return `export ${words.join(' ')}`;
}

/** A shell reads requests by line, so newlines in names are written by printf. */
function oneLine(value: string): string {
  if (!value.includes('\n')) return quote(value);
  const text = value.replaceAll('\\', '\\\\').replaceAll('%', '%%').replaceAll('\n', '\\n');
  return `"$(printf ${quote(text)})"`;
}
