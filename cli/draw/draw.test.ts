import { describe, expect, it } from 'vitest';
import { RepoInfo } from '../../proto/generated/pfs.js';
import { JobState, PipelineInfo, PipelineState } from '../../proto/generated/pps.js';
import { paintWith } from '../render/colour.js';
import { around, graphOf, type Graph } from './graph.js';
import { drawSvg } from './svg.js';
import { drawText } from './text.js';

const repo = (name: string, sizeBytes = 2048): RepoInfo =>
  RepoInfo.fromPartial({ repo: { name }, sizeBytes });

function pipeline(name: string, inputs: string[], job?: JobState): PipelineInfo {
  const read = (from: string) => ({ pfs: { repo: from, branch: 'master', glob: '/*' } });
  return PipelineInfo.fromPartial({
    pipeline: { name },
    input: inputs.length === 1 ? read(inputs[0] as string) : { cross: inputs.map(read) },
    state: PipelineState.PIPELINE_RUNNING,
    ...(job === undefined ? {} : { lastJobState: job, jobCounts: { [job]: 1 } }),
  });
}

const plain = paintWith(false);
const text = (graph: Graph): string => drawText(graph, plain).join('\n');

/** Training and inference: one pipeline reads an input and another's output. */
const iris = graphOf(
  [repo('training'), repo('attributes'), repo('model'), repo('infer')],
  [
    pipeline('model', ['training'], JobState.JOB_SUCCESS),
    pipeline('infer', ['attributes', 'model'], JobState.JOB_RUNNING),
  ],
);

describe('a graph of repos and pipelines', () => {
  it('stands side by side, left to right', () => {
    expect(text(graphOf([repo('a'), repo('b')], [pipeline('b', ['a'])]))).toMatchInlineSnapshot(`
      "┌──────┐     ╔═════════╗
      │ a    │────▶║ b       ║
      │ 2KiB │     ║ running ║
      └──────┘     ╚═════════╝"
    `);
  });

  it('joins the lines of two inputs and goes past the layers between', () => {
    expect(text(iris)).toMatchInlineSnapshot(`
      "                 ┌────────────┐
                       │ attributes │──────────────────┐
                       │ 2KiB       │                  │
                       └────────────┘                  │   ╔═══════════════════════════╗
                                                     ┌─┴──▶║ infer                     ║
      ┌──────────┐     ╔═══════════════════════════╗ │     ║ running, last job running ║
      │ training │────▶║ model                     ║─┘     ╚═══════════════════════════╝
      │ 2KiB     │     ║ running, last job success ║
      └──────────┘     ╚═══════════════════════════╝"
    `);
  });

  it('splits the lines of one source, crosses those of others', () => {
    const crossed = graphOf(
      [repo('a'), repo('b')],
      [pipeline('x', ['a', 'b']), pipeline('y', ['a', 'b']), pipeline('z', ['a'])],
    );
    expect(text(crossed)).toMatchInlineSnapshot(`
      "               ╔═════════╗
      ┌──────┐ ┌─┬──▶║ x       ║
      │ b    │─│─┤   ║ running ║
      │ 2KiB │ │ │   ╚═════════╝
      └──────┘ │ │
               │ │
               │ │
               │ │   ╔═════════╗
      ┌──────┐ ├─┴──▶║ y       ║
      │ a    │─┤     ║ running ║
      │ 2KiB │ │     ╚═════════╝
      └──────┘ │
               │     ╔═════════╗
               └────▶║ z       ║
                     ║ running ║
                     ╚═════════╝"
    `);
  });

  it('can be cut down to what is connected', () => {
    const names = (graph: Graph): string[] => graph.nodes.map(({ name }) => name);
    expect(names(around(iris, ['model']))).toEqual(['infer', 'model', 'training']);
    expect(names(around(iris, ['attributes']))).toEqual(['attributes', 'infer']);
  });

  it('shows inputs whose repo is gone', () => {
    expect(text(graphOf([repo('p')], [pipeline('p', ['gone'])]))).toContain('deleted');
  });

  it('is an SVG document with every name escaped', () => {
    const svg = drawSvg(
      graphOf([repo('a'), repo('b')], [pipeline('b', ['a'], JobState.JOB_FAILURE)]),
    );
    expect(svg).toMatch(/^<svg xmlns=[^]*<\/svg>\n$/);
    expect(svg).toContain('<title>a@master /*</title>');
    expect(svg).toContain('running, last job failure');
    const odd = graphOf([repo('a')], [pipeline('a<b&c', ['a'])]);
    expect(drawSvg(odd)).toContain('a&#60;b&#38;c');
    expect(drawSvg(odd)).not.toContain('a<b');
  });
});
