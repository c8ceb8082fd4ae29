/** A graph as an SVG picture that needs nothing else: fonts of the system, light and dark. */
import type { Graph, GraphNode, Mood } from './graph.js';
import { place, type PlacedEdge, type PlacedNode } from './layout.js';

const HEIGHT = 52;
const MARGIN = 16;
/** Widths of characters in the two lines, generous. */
const NAME_WIDTH = 9;
const LINE_WIDTH = 7;

const DOTS: Readonly<Record<Mood, string>> = {
  ...{ good: '#2da44e', busy: '#d4a72c', bad: '#cf222e', plain: '#8c959f' },
};

const STYLE = `
  svg { background: #ffffff; font-family: ui-sans-serif, system-ui, sans-serif; }
  .repo rect { fill: #f6f8fa; stroke: #8c959f; }
  .pipeline rect { fill: #ddf4ff; stroke: #0969da; }
  .name { font-size: 15px; font-weight: 600; fill: #1f2328; }
  .line { font-size: 12px; fill: #59636e; }
  .edge { fill: none; stroke: #8c959f; stroke-width: 1.5; }
  .tip { fill: #8c959f; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; }
    .repo rect { fill: #151b23; stroke: #656c76; }
    .pipeline rect { fill: #0c2d6b; stroke: #388bfd; }
    .name { fill: #f0f6fc; }
    .line { fill: #9198a1; }
  }`;

/** The whole document. */
export function drawSvg(graph: Graph): string {
  const { nodes, edges, width, height } = place(graph, {
    width: boxWidth,
    height: HEIGHT,
    ...{ nodeGap: 24, layerGap: 64, edgeGap: 16 },
  });
  const [w, h] = [Math.ceil(width) + 2 * MARGIN, Math.ceil(height) + 2 * MARGIN];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${-MARGIN} ${-MARGIN} ${w} ${h}" width="${w}" height="${h}">`,
    `<title>Repos and pipelines</title>`,
    `<style>${STYLE}\n</style>`,
    `<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path class="tip" d="M0,0 L8,4 L0,8 z"/></marker></defs>`,
    ...edges.map(edgePath),
    ...nodes.map(box),
    '</svg>\n',
  ].join('\n');
}

function boxWidth({ name, line }: GraphNode): number {
  return Math.max([...name].length * NAME_WIDTH, [...line].length * LINE_WIDTH) + 44;
}

function box({ name, line, kind, mood, x, y, width }: PlacedNode): string {
  const [left, top] = [x - width / 2, y - HEIGHT / 2];
  const corner = kind === 'repo' ? 3 : 12;
  return [
    `<g class="${kind}" transform="translate(${px(left)} ${px(top)})"><title>${escape(`${kind} ${name}`)}</title>`,
    `<rect width="${px(width)}" height="${HEIGHT}" rx="${corner}"/>`,
    `<circle cx="18" cy="20" r="5" fill="${DOTS[mood]}"/>`,
    `<text class="name" x="32" y="25">${escape(name)}</text>`,
    `<text class="line" x="32" y="42">${escape(line)}</text></g>`,
  ].join('');
}

/** A smooth line through the points. */
function edgePath({ points, label }: PlacedEdge): string {
  const [first, ...rest] = points;
  if (!first) return '';
  let path = `M${px(first.x)},${px(first.y)}`;
  let before = first;
  for (const point of rest) {
    const middle = (before.x + point.x) / 2;
    path += ` C${px(middle)},${px(before.y)} ${px(middle)},${px(point.y)} ${px(point.x)},${px(point.y)}`;
    before = point;
  }
  return `<path class="edge" d="${path}" marker-end="url(#tip)"><title>${escape(label)}</title></path>`;
}

function px(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}
