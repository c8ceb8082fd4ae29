/** Which input of a datum can not be read. */
import type { AppError } from '../core/errors.js';
import type { WorkDatum } from '../queue/messages.js';
import { decodeNode } from '../storage/node-format.js';
import type { Wait } from '../storage/types.js';
import { readsBroken, unreadable } from '../storage/unreadable.js';
import type { InputTrees } from './ports.js';

/** The error with the file of the datum in front that needs the object it names. */
export async function unreadableInput(
  trees: InputTrees,
  { inputs }: Pick<WorkDatum, 'inputs'>,
  error: AppError,
  wait: Wait,
): Promise<unknown> {
  for (const { repo, commit, path, node: encoded } of inputs) {
    const place = { repo, commit, path };
    const node = decodeNode(Buffer.from(encoded, 'base64'));
    if (readsBroken(node, error)) return unreadable(error, place);
    if (node.type !== 'dir') continue;
    try {
      for await (const found of trees.walk(node, '', wait)) {
        if (!readsBroken(found.node, error)) continue;
        return unreadable(error, { ...place, path: `${path === '/' ? '' : path}${found.path}` });
      }
    } catch {
      // The list of its files is what is broken.
      wait.signal.throwIfAborted();
      return unreadable(error, place);
    }
  }
  return error;
}
