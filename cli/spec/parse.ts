/** A spec file's text → CreatePipelineRequests. */
import type { AppError } from '../../core/errors.js';
import { invalidInput } from '../../core/errors.js';
import { CreatePipelineRequest } from '../../proto/generated/pps.js';
import { decodeMessage } from './decode.js';
import { parseJsonStream } from './json-text.js';
import { modernize } from './legacy.js';
import { placeOf, SpecTextError, type SpecNode } from './node.js';

const TYPE = 'pps.CreatePipelineRequest';

export interface ParseOptions {
  /** Name of the text in messages: a path, `standard input`. */
  readonly source: string;
  readonly warn: (text: string) => void;
}

/**
 * All specs of a text, in order: concatenated JSON objects, YAML documents, or a top-level list.
 * Throws INVALID_INPUT starting with `malformed pipeline spec: `, with a second line that says
 * where. An empty text has no specs.
 */
export async function parseSpecs(
  text: string,
  options: ParseOptions,
): Promise<CreatePipelineRequest[]> {
  try {
    const roots = await parseText(text);
    const nodes = roots.flatMap((root) => (root.kind === 'array' ? root.items : [root]));
    return nodes.map((node) => parseSpec(node, options));
  } catch (error) {
    if (error instanceof SpecTextError) throw located(error, text, options.source);
    throw error;
  }
}

async function parseText(text: string): Promise<SpecNode[]> {
  const start = text.trimStart()[0];
  if (start === undefined) return [];
  if (start === '{') return parseJsonStream(text);
  if (start === '[') {
    try {
      return parseJsonStream(text);
    } catch {
      // YAML lists in flow style may begin the same way.
    }
  }
  const { parseYamlDocuments } = await import('./yaml-text.js');
  return parseYamlDocuments(text);
}

function parseSpec(node: SpecNode, options: ParseOptions): CreatePipelineRequest {
  const modern = modernize(node, (text) => options.warn(`${options.source}: ${text}`));
  const decoded = decodeMessage(modern, TYPE);
  const pipeline = decoded['pipeline'] as { name?: string } | undefined;
  if (!pipeline) {
    throw new SpecTextError('no `pipeline` specified', node.at, 'add "pipeline": {"name": "…"}');
  }
  if (!pipeline.name) {
    throw new SpecTextError('no pipeline `name` specified', node.at, 'add "name" to "pipeline"');
  }
  return CreatePipelineRequest.fromPartial(decoded as Partial<CreatePipelineRequest>);
}

function located(error: SpecTextError, text: string, source: string): AppError {
  const { line, column } = placeOf(text, error.at);
  const hint = error.hint === '' ? '' : `: ${error.hint}`;
  return invalidInput(
    `malformed pipeline spec: ${error.message}\n  at ${source}:${line}:${column}${hint}`,
  );
}
