/** Places of nodes in layers from left to right, and the heights at which edges pass the layers. */
import { Graph as Layered, layout } from '@dagrejs/dagre';
import type { Graph, GraphEdge, GraphNode } from './graph.js';

export interface Sizes {
  readonly width: (node: GraphNode) => number;
  readonly height: number;
  /** Between nodes of one layer, between layers. */
  readonly nodeGap: number;
  readonly layerGap: number;
  readonly edgeGap: number;
}

export interface PlacedNode extends GraphNode {
  /** Middle of the node. */
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly layer: number;
}

export interface PlacedEdge extends GraphEdge {
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

export interface Picture {
  readonly nodes: readonly PlacedNode[];
  readonly edges: readonly PlacedEdge[];
  readonly width: number;
  readonly height: number;
}

export function place(graph: Graph, sizes: Sizes): Picture {
  const layered = new Layered();
  layered.setGraph({
    ...{ rankdir: 'LR', nodesep: sizes.nodeGap, ranksep: sizes.layerGap },
    ...{ edgesep: sizes.edgeGap, marginx: 0, marginy: 0 },
  });
  layered.setDefaultEdgeLabel(() => ({}));
  for (const node of graph.nodes) {
    layered.setNode(node.name, { width: sizes.width(node), height: sizes.height });
  }
  for (const { from, to } of graph.edges) layered.setEdge(from, to);
  layout(layered);
  const placed = graph.nodes.map((node) => ({ node, at: layered.node(node.name) }));
  const ranks = [...new Set(placed.map(({ at }) => at.x))].sort((a, b) => a - b);
  const { width = 0, height = 0 } = layered.graph();
  return {
    nodes: placed.map(({ node, at }) => ({
      ...node,
      ...{ x: at.x, y: at.y, width: at.width, layer: ranks.indexOf(at.x) },
    })),
    edges: graph.edges.map((edge) => ({
      ...edge,
      points: layered.edge(edge.from, edge.to).points ?? [],
    })),
    width,
    height,
  };
}
