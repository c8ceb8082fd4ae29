/**
 * A graph in box-drawing characters. Every source has a column of its own between two layers, so that
 * lines of different sources never run over each other; where they cross, the upright one is in front.
 */
import { widthOf, type Paint } from '../render/colour.js';
import type { Graph, GraphNode, Mood } from './graph.js';
import { place, type Picture, type PlacedEdge, type PlacedNode } from './layout.js';

const UP = 1;
const RIGHT = 2;
const DOWN = 4;
const LEFT = 8;
/** Line characters by the sides they touch. */
const LINES = ' ╵╶└╷│┌├╴┘─┴┐┤┬┼';

const FRAMES = { repo: '┌─┐│└┘', pipeline: '╔═╗║╚╝' } as const;
const COLOURS = { good: 'green', busy: 'yellow', bad: 'red' } as const;

interface Cell {
  text: string;
  mood: Mood;
  sides: number;
  /** Which source's line runs across and which one up and down. */
  across: string | undefined;
  upright: string | undefined;
}

/** The lines of the picture, painted; no trailing spaces. */
export function drawText(graph: Graph, paint: Paint): string[] {
  const boxHeight = 4;
  const picture = place(graph, {
    width: boxWidth,
    height: boxHeight,
    ...{ nodeGap: 1, layerGap: 4, edgeGap: 2 },
  });
  const places = new Map(picture.nodes.map((node) => [node.name, node]));
  const columns = columnsOf(picture, places);
  const page = new Page();
  for (const edge of picture.edges) drawEdge(page, edge, places, columns);
  for (const node of picture.nodes) drawBox(page, node, columns.left[node.layer] ?? 0);
  return page.lines(paint);
}

function boxWidth({ name, line }: GraphNode): number {
  return Math.max(widthOf(name), widthOf(line)) + 4;
}

type Places = ReadonlyMap<string, PlacedNode>;

interface Columns {
  /** First column of each layer. */
  readonly left: readonly number[];
  /** Where the middle of each layer is in the picture. */
  readonly middle: readonly number[];
  /** Column behind each layer's widest box. */
  readonly right: readonly number[];
  /** Column in the gap behind a layer that a source's lines go up and down in. */
  of(layer: number, source: string): number;
}

/** As many columns between two layers as there are sources whose lines pass there. */
function columnsOf({ nodes, edges }: Picture, at: Places): Columns {
  const layers = Math.max(...nodes.map(({ layer }) => layer)) + 1;
  const widths = Array.from({ length: layers }, () => 0);
  const middle: number[] = [];
  for (const { layer, width, x } of nodes) {
    middle[layer] = x;
    widths[layer] = Math.max(widths[layer] as number, Math.round(width));
  }
  const passing = Array.from({ length: layers }, () => new Set<PlacedNode>());
  for (const { from, to } of edges) {
    const [source, target] = [at.get(from), at.get(to)] as [PlacedNode, PlacedNode];
    for (let layer = source.layer; layer < target.layer; layer += 1) {
      (passing[layer] as Set<PlacedNode>).add(source);
    }
  }
  const columns = passing.map((sources) => {
    const upwards = [...sources].sort((a, b) => b.y - a.y);
    return new Map(upwards.map(({ name }, index) => [name, index]));
  });
  const left: number[] = [];
  const right: number[] = [];
  for (let layer = 0, x = 0; layer < layers; layer += 1) {
    left.push(x);
    right.push(x + (widths[layer] as number));
    x = (right[layer] as number) + 2 * (columns[layer]?.size ?? 0) + 3;
  }
  const of = (layer: number, source: string): number => {
    const index = columns[layer]?.get(source) ?? 0;
    return (right[layer] ?? 0) + 1 + 2 * index;
  };
  return { left, right, middle, of };
}

/** Top row of a box. */
const topOf = ({ y }: PlacedNode): number => Math.round(y) - 2;
/** Row in which lines leave and enter. */
const middleOf = (node: PlacedNode): number => topOf(node) + 1;

function drawEdge(page: Page, edge: PlacedEdge, at: Places, columns: Columns): void {
  const source = at.get(edge.from) as PlacedNode;
  const target = at.get(edge.to) as PlacedNode;
  let row = middleOf(source);
  let x = (columns.left[source.layer] as number) + Math.round(source.width);
  for (let layer = source.layer; layer < target.layer; layer += 1) {
    const column = columns.of(layer, edge.from);
    const next = layer + 1 === target.layer;
    const to = next
      ? middleOf(target)
      : Math.round(heightAt(edge, columns.middle[layer + 1] ?? 0)) - 1;
    const end = columns.left[layer + 1] as number;
    // One cell more: the line touches the box, or its own part in the layer before.
    page.across(row, x - 1, column, edge.from);
    page.upright(column, row, to, edge.from);
    page.across(to, column, next ? end - 1 : (columns.right[layer + 1] as number), edge.from);
    [row, x] = [to, columns.right[layer + 1] as number];
  }
  page.put(row, (columns.left[target.layer] as number) - 1, '▶', 'plain');
}

/** Where the edge passes a layer between its ends, whose middle is at `x` in the picture. */
function heightAt({ points }: PlacedEdge, x: number): number {
  for (const [i, { x: x1, y: y1 }] of points.entries()) {
    const before = points[i - 1];
    if (x1 < x || !before) continue;
    const part = x1 === before.x ? 0 : (x - before.x) / (x1 - before.x);
    return before.y + part * (y1 - before.y);
  }
  return points.at(-1)?.y ?? 0;
}

function drawBox(page: Page, node: PlacedNode, left: number): void {
  const [corner, flat, right, side, low, end] = [...FRAMES[node.kind]] as [
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  const inner = Math.round(node.width) - 2;
  const line = (text: string): string =>
    `${side} ${text}${' '.repeat(inner - 1 - widthOf(text))}${side}`;
  const rows = [
    `${corner}${flat.repeat(inner)}${right}`,
    line(node.name),
    line(node.line),
    `${low}${flat.repeat(inner)}${end}`,
  ];
  for (const [i, text] of rows.entries()) page.put(topOf(node) + i, left, text, node.mood);
}

/** Cells by row and column; grows to all sides. */
class Page {
  readonly #cells = new Map<number, Map<number, Cell>>();

  put(row: number, column: number, text: string, mood: Mood): void {
    for (const [i, char] of [...text].entries()) {
      const cell = this.#cell(row, column + i);
      cell.text = char;
      cell.mood = mood;
    }
  }

  /** A line from one column to another, both included. */
  across(row: number, from: number, to: number, net: string): void {
    for (let x = from; x <= to; x += 1) {
      const cell = this.#cell(row, x);
      cell.sides |= (x > from ? LEFT : 0) | (x < to ? RIGHT : 0);
      cell.across = net;
    }
  }

  upright(column: number, from: number, to: number, net: string): void {
    const [top, bottom] = from < to ? [from, to] : [to, from];
    if (top === bottom) return;
    for (let y = top; y <= bottom; y += 1) {
      const cell = this.#cell(y, column);
      cell.sides |= (y > top ? UP : 0) | (y < bottom ? DOWN : 0);
      cell.upright = net;
    }
  }

  lines(paint: Paint): string[] {
    const rows = [...this.#cells.keys()].sort((a, b) => a - b);
    const lines: string[] = [];
    for (let y = rows[0] ?? 0; y <= (rows.at(-1) ?? -1); y += 1) {
      lines.push(painted(this.#cells.get(y) ?? new Map(), paint));
    }
    return lines;
  }

  #cell(row: number, column: number): Cell {
    const cells = this.#cells.get(row) ?? new Map<number, Cell>();
    this.#cells.set(row, cells);
    const fresh = { text: '', mood: 'plain', sides: 0, across: undefined, upright: undefined };
    const cell = cells.get(column) ?? (fresh as Cell);
    cells.set(column, cell);
    return cell;
  }
}

function painted(cells: ReadonlyMap<number, Cell>, paint: Paint): string {
  const end = Math.max(...cells.keys(), -1);
  let line = '';
  let run = '';
  let mood: Mood = 'plain';
  const close = (): void => {
    line += mood === 'plain' ? run : paint(COLOURS[mood], run);
    run = '';
  };
  for (let x = 0; x <= end; x += 1) {
    const cell = cells.get(x);
    const next = cell?.mood ?? 'plain';
    if (next !== mood) close();
    mood = next;
    run += cell ? charOf(cell) : ' ';
  }
  close();
  return line.trimEnd();
}

function charOf({ text, sides, across, upright }: Cell): string {
  if (text !== '') return text;
  const all = UP | RIGHT | DOWN | LEFT;
  if (sides === all && across !== upright) return '│';
  return LINES[sides] as string;
}
