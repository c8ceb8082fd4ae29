/** Repos and pipelines as a graph: who reads whose data. */
import type { RepoInfo } from '../../proto/generated/pfs.js';
import type { Input, PipelineInfo } from '../../proto/generated/pps.js';
import { JobState, PipelineState } from '../../proto/generated/pps.js';
import { paintWith } from '../render/colour.js';
import { formatSize } from '../render/size.js';
import { jobState, pipelineState } from '../render/states.js';

export type Mood = 'good' | 'busy' | 'bad' | 'plain';

export interface GraphNode {
  readonly name: string;
  readonly kind: 'repo' | 'pipeline';
  /** Second line: the size of a repo, the state of a pipeline and of its last job. */
  readonly line: string;
  readonly mood: Mood;
}

export interface GraphEdge {
  readonly from: string;
  readonly to: string;
  /** How the input is read, as `name@branch glob`. */
  readonly label: string;
}

export interface Graph {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
}

/** A pipeline and its output repo are one node. */
export function graphOf(repos: readonly RepoInfo[], pipelines: readonly PipelineInfo[]): Graph {
  const nodes = new Map<string, GraphNode>();
  const sizes = new Map(repos.map((info) => [info.repo?.name ?? '', info.sizeBytes]));
  for (const info of pipelines) {
    const name = info.pipeline?.name ?? '';
    nodes.set(name, { name, kind: 'pipeline', ...stateOf(info) });
  }
  for (const [name, bytes] of sizes) {
    if (nodes.has(name)) continue;
    nodes.set(name, { name, kind: 'repo', line: formatSize(bytes), mood: 'plain' });
  }
  /** By both ends: a pipeline may read a repo more than once. */
  const edges = new Map<string, GraphEdge>();
  for (const { pipeline, input } of pipelines) {
    const to = pipeline?.name ?? '';
    for (const { from, label } of sourcesOf(input)) {
      // Somebody deleted the repo by force.
      if (!nodes.has(from)) {
        nodes.set(from, { name: from, kind: 'repo', line: 'deleted', mood: 'bad' });
      }
      const ends = `${from} ${to}`;
      const other = edges.get(ends);
      edges.set(ends, { from, to, label: other ? `${other.label}\n${label}` : label });
    }
  }
  const sorted = [...nodes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return { nodes: sorted, edges: [...edges.values()] };
}

/** The part of a graph that is connected with these names, up and down. Names must be there. */
export function around(graph: Graph, names: readonly string[]): Graph {
  const keep = new Set(names);
  const follow = (from: 'from' | 'to', to: 'from' | 'to'): void => {
    const next = new Map<string, string[]>();
    for (const edge of graph.edges) {
      const list = next.get(edge[from]);
      if (list) list.push(edge[to]);
      else next.set(edge[from], [edge[to]]);
    }
    const seen = new Set(names);
    for (const name of seen) for (const other of next.get(name) ?? []) seen.add(other);
    for (const name of seen) keep.add(name);
  };
  follow('from', 'to');
  follow('to', 'from');
  return {
    nodes: graph.nodes.filter(({ name }) => keep.has(name)),
    edges: graph.edges.filter(({ from, to }) => keep.has(from) && keep.has(to)),
  };
}

function sourcesOf(input: Input | undefined): { from: string; label: string }[] {
  if (!input) return [];
  const own: { from: string; label: string }[] = [];
  if (input.pfs) {
    const { repo, branch, glob } = input.pfs;
    own.push({ from: repo, label: `${repo}@${branch || 'master'} ${glob}` });
  }
  if (input.cron) {
    own.push({ from: input.cron.repo || input.cron.name, label: `cron ${input.cron.spec}` });
  }
  if (input.git) own.push({ from: input.git.name, label: input.git.url });
  const inner = [...input.cross, ...input.union, ...input.join, ...input.group];
  return [...own, ...inner.flatMap(sourcesOf)];
}

const BAD: ReadonlySet<PipelineState> = new Set([
  PipelineState.PIPELINE_FAILURE,
  PipelineState.PIPELINE_CRASHING,
]);
const BUSY: ReadonlySet<JobState> = new Set([
  JobState.JOB_STARTING,
  JobState.JOB_RUNNING,
  JobState.JOB_MERGING,
  JobState.JOB_EGRESSING,
]);

const PLAIN = paintWith(false);

function stateOf(info: PipelineInfo): { line: string; mood: Mood } {
  const { state } = info;
  const name = pipelineState(state, PLAIN);
  const ran = Object.values(info.jobCounts).some((count) => count > 0);
  const job = ran ? info.lastJobState : undefined;
  const line = job === undefined ? name : `${name}, last job ${jobState(job, PLAIN)}`;
  if (BAD.has(state) || job === JobState.JOB_FAILURE || job === JobState.JOB_KILLED) {
    return { line, mood: 'bad' };
  }
  if (job === undefined) return { line, mood: 'plain' };
  return { line, mood: BUSY.has(job) ? 'busy' : 'good' };
}
