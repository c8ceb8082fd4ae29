/**
 * Planning by what changed: for a pipeline with one input and no composites, the datums of the next
 * job are those of the last successful one, less what vanished from the input's tree, plus what
 * appeared in it. Costs what changed, however many datums there are.
 */
import { compileGlob } from '../../storage/glob.js';
import { decodeNode, encodeNode } from '../../storage/index.js';
import type { DirNode, Wait } from '../../storage/types.js';
import { joinByLookup, joinSorted, type Entry, type KeyValue } from './carry.js';
import { datumId, datumKey, type Datum, type DatumFile } from './datum.js';
import { compareFiles, inputRefOf, type DatumList } from './enumerate.js';
import { runsAll } from './job-spec.js';
import type { ManifestMaps } from './manifest-maps.js';
import type { ManifestHeader, PlannedInput } from './model.js';
import type { PlanDeps, PlanInput } from './plan.js';

/** Datums to run; they may be made when they are asked for. */
export interface OpenList {
  readonly length: number;
  at(index: number): Entry;
}

/** What a job consists of, before it is cut into tasks. */
export interface Found {
  /** Datums to run, in the order of enumeration. */
  readonly open: OpenList;
  readonly datumOf: (entry: Entry) => Datum;
  readonly total: number;
  /** Root text of the map of datums that need no run. */
  readonly carried: string;
  /** Header of the manifest whose output the merge starts from. */
  readonly base?: string;
  readonly list?: DatumList;
  readonly input?: PlannedInput;
}

/** Below this many open entries, older manifests are asked by key instead of read whole. */
const LOOKUPS_MAX = 500;
/** With more changes than this share of the datums, enumerating all is as good. */
const CHANGED_SHARE_MAX = 0.5;
const CHANGED_MIN = 1_000;

/** Answers for `open` from other manifests, newest first. */
export async function askOthers(
  deps: { readonly maps: Pick<ManifestMaps, 'get' | 'scan'> },
  headers: readonly ManifestHeader[],
  open: Entry[],
  wait: Wait,
): Promise<{ open: Entry[]; added: KeyValue[] }> {
  let rest = open;
  const added: KeyValue[] = [];
  for (const header of headers) {
    if (rest.length === 0) break;
    const more =
      rest.length <= LOOKUPS_MAX
        ? await joinByLookup(rest, (key, inner) => deps.maps.get(header.map, key, inner), wait)
        : await joinSorted(rest, deps.maps.scan(header.map, wait), wait);
    rest = more.open;
    added.push(...more.carried);
  }
  return { open: rest, added: added.sort((a, b) => Buffer.compare(a.key, b.key)) };
}

/** What the next job needs to know about this one's input; undefined for composites. */
export async function plannedInput(
  input: PlanInput,
  wait: Wait,
): Promise<PlannedInput | undefined> {
  const pfs = input.info.input?.pfs;
  if (!pfs || pfs.s3) return undefined;
  const ref = inputRefOf(pfs, input.source);
  const root = await input.source.root(ref, wait);
  return root && { name: ref.name, glob: pfs.glob, root: encodeNode(root).toString('base64') };
}

/** The plan by changes, or undefined when everything has to be enumerated. */
export async function planChanges(
  deps: PlanDeps,
  input: PlanInput,
  headers: readonly { ref: string; header: ManifestHeader }[],
  wait: Wait,
): Promise<Found | undefined> {
  const base = headers.find(({ header }) => header.output !== undefined);
  const before = base?.header.input;
  if (!base || !before || base.header.unsuccessful > 0) return undefined;
  if (runsAll(input.info)) return undefined;
  const planned = await plannedInput(input, wait);
  if (!planned || planned.name !== before.name || planned.glob !== before.glob) return undefined;
  const changes = await changesBetween(input, { before, planned, of: base.header.total }, wait);
  if (!changes) return undefined;
  const files = changes.appeared.sort(compareFiles);
  const entries = files
    .map((file, index): Entry => ({
      key: datumKey([planned.name], [file.path], 0),
      id: datumId([file]),
      index,
      twin: 0,
    }))
    .sort((a, b) => Buffer.compare(a.key, b.key));
  const others = headers.filter((entry) => entry !== base).map(({ header }) => header);
  const { open, added } = await askOthers(deps, others, entries, wait);
  const back = new Set(added.map(({ key }) => key.toString('latin1')));
  const deletes = changes.vanished
    .map((path) => datumKey([planned.name], [path], 0))
    .filter((key) => !back.has(key.toString('latin1')))
    .sort((a, b) => Buffer.compare(a, b));
  return {
    open: listed(open.sort((a, b) => a.index - b.index)),
    datumOf: (entry) => [files[entry.index] as DatumFile],
    total: base.header.total - changes.vanished.length + files.length,
    carried: await deps.maps.patch(base.header.map, { puts: added, deletes }, wait),
    base: base.ref,
    input: planned,
  };
}

export function listed(entries: readonly Entry[]): OpenList {
  return { length: entries.length, at: (index) => entries[index] as Entry };
}

/** Matches that vanished and appeared; a changed one did both. Undefined when there are many. */
async function changesBetween(
  input: PlanInput,
  { before, planned, of }: { before: PlannedInput; planned: PlannedInput; of: number },
  wait: Wait,
): Promise<{ vanished: string[]; appeared: DatumFile[] } | undefined> {
  const pfs = input.info.input?.pfs;
  if (!pfs) return undefined;
  const ref = inputRefOf(pfs, input.source);
  const glob = compileGlob(planned.glob);
  const vanished: string[] = [];
  const appeared: DatumFile[] = [];
  const most = Math.max(CHANGED_MIN, of * CHANGED_SHARE_MAX);
  for await (const { path, a, b } of input.source.diff(rootOf(before), rootOf(planned), wait)) {
    // Only the pattern `/` means the root itself.
    if (path === '' ? glob.pattern !== '' : !glob.match(path)) continue;
    const shown = path === '' ? '/' : path;
    if (a) vanished.push(shown);
    if (b) appeared.push({ input: ref, path: shown, node: b, joinKey: '', groupKey: '' });
    if (vanished.length + appeared.length > most) return undefined;
  }
  return { vanished, appeared };
}

function rootOf(input: PlannedInput): DirNode {
  return decodeNode(Buffer.from(input.root, 'base64')) as DirNode;
}
