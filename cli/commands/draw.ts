/** draw: repos and pipelines as a graph, in the terminal or as SVG. */
import { writeFileSync } from 'node:fs';
import { invalidInput, notFound } from '../../core/errors.js';
import { ListRepoRequest } from '../../proto/generated/pfs.js';
import { ListPipelineRequest } from '../../proto/generated/pps.js';
import { around, graphOf } from '../draw/graph.js';
import { drawSvg } from '../draw/svg.js';
import { drawText } from '../draw/text.js';
import type { Call } from '../grammar/command.js';
import { fileErrorText } from '../put/file-error.js';
import { ppsOf } from './pps-client.js';

export async function draw({ session, args, flags }: Call): Promise<void> {
  const { client, pps } = await ppsOf(session);
  const request = ListPipelineRequest.fromPartial({ allowIncomplete: true });
  const [{ repoInfo }, { pipelineInfo }] = await Promise.all([
    client.unary(client.pfs.listRepo, ListRepoRequest.fromPartial({})),
    client.unary(pps.listPipeline, request),
  ]);
  const whole = graphOf(repoInfo, pipelineInfo);
  const missing = args.find((name) => !whole.nodes.some((node) => node.name === name));
  if (missing !== undefined) {
    throw notFound(`there is no repo or pipeline ${missing}; 'tusk draw' shows all of them`);
  }
  const graph = args.length === 0 ? whole : around(whole, args);
  if (graph.nodes.length === 0) {
    session.note("There are no repos yet; 'tusk create repo NAME' makes one.");
    return;
  }
  const svg = flags.text('svg');
  if (svg === '') session.out(drawText(graph, session.paint).join('\n') + '\n');
  else if (svg === '-') session.out(drawSvg(graph));
  else {
    try {
      writeFileSync(svg, drawSvg(graph));
    } catch (error) {
      throw invalidInput(fileErrorText('open', svg, error));
    }
    session.note(`Wrote ${graph.nodes.length} repos and pipelines to ${svg}.`);
  }
}
