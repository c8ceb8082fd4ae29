/**
 * Which metadata keys an archive holds, in what order a restore writes them, and what counts as an
 * empty cluster. Keys are described in docs/formats/etcd.md.
 *
 * Everything is taken but what belongs to this installation or to a process that is alive: keys that
 * later features add are in archives without anybody thinking of it.
 */
import type { BranchRecord, CommitRecord } from '../versioning/model.js';
import { SPEC_REPO } from '../versioning/model.js';
import { RESTORE_KEY } from '../versioning/restore-mark.js';

/** `hold/<id>`: under a lease; while one exists nothing may be swept. */
export const HOLDS = 'hold/';

/** What is never taken: of the installation itself, or of a living process. */
const OWN = ['format', 'cluster', RESTORE_KEY];
const OWN_PREFIXES = ['gc/', 'txn/', 'co/', 'own/', 'wk/', HOLDS];

/** Whether a key belongs to the installation and not to what people keep in it. */
export function isOwn(key: string): boolean {
  return OWN.includes(key) || OWN_PREFIXES.some((prefix) => key.startsWith(prefix));
}

/**
 * When a restore writes a key. 0: nobody sees it without the ones that follow. 1: what owners wait
 * for, visible to nobody while its repo and pipeline are not there. 2: roots, all in one transaction.
 */
export function stageOf(key: string): 0 | 1 | 2 {
  if (key.startsWith('repo/') || key.startsWith('pl/')) return 2;
  return key.startsWith('open/') || key.startsWith('jrun/') ? 1 : 0;
}

/** Keys whose order of creation means something: listings, and the effect of writes. */
const ORDERED = ['cm/', 'ch/', 'dl/', 'br/', 'tx/'];

export function isOrdered(key: string): boolean {
  return ORDERED.some((prefix) => key.startsWith(prefix));
}

/** What deleting every repo and pipeline may leave behind; nobody sees it. */
const LEFTOVERS = ['br/', 'cm/', 'ch/', 'sv/', 'gen/', 'jo/', 'ji/', 'job/', 'mh/', 's3/', 'dl/'];

/** Why a cluster that has this key is not empty; undefined when the key does not matter. */
export function occupies(key: string): string | undefined {
  if (isOwn(key) || LEFTOVERS.some((prefix) => key.startsWith(prefix))) return undefined;
  if (key === `repo/${SPEC_REPO}`) return undefined;
  const [kind = '', name = ''] = key.split('/');
  const kinds: Readonly<Record<string, string>> = {
    repo: 'repo',
    pl: 'pipeline',
    open: 'an open commit of repo',
    tx: 'transaction',
    txr: 'transaction',
    object: 'object',
    tag: 'tag',
    sec: 'secret',
  };
  return `${kinds[kind] ?? kind} ${name}`.trim();
}

const PIPELINE_KEYS = ['pl/', 'job/', 'jrun/', 'jo/', 'ji/', 'mh/'];
const SPEC_KEYS = ['repo', 'br', 'cm', 'open', 'dl', 'ch', 'sv', 'gen'].map(
  (kind) => `${kind}/${SPEC_REPO}`,
);

/**
 * The value of a key in an archive without pipelines; undefined: the key is left out. Branches keep
 * their heads and lose their provenance, commits keep theirs but for specs; an output commit that
 * waits for its job is finished without content, as the job's failure would have done.
 */
export function withoutPipelines(key: string, value: Buffer): Buffer | undefined {
  if (PIPELINE_KEYS.some((prefix) => key.startsWith(prefix))) return undefined;
  if (SPEC_KEYS.some((spec) => key === spec || key.startsWith(`${spec}/`))) return undefined;
  if (key.startsWith('br/')) {
    const branch = JSON.parse(value.toString()) as BranchRecord;
    const none = { directProvenance: [], provenance: [], subvenance: [] };
    return Buffer.from(JSON.stringify({ ...branch, ...none }));
  }
  if (key.startsWith('open/')) {
    return hasInputs(JSON.parse(value.toString()) as CommitRecord) ? undefined : value;
  }
  if (!key.startsWith('cm/')) return value;
  const commit = JSON.parse(value.toString()) as CommitRecord;
  const provenance = commit.provenance.filter(({ repo }) => repo !== SPEC_REPO);
  const waiting = commit.finished === undefined && hasInputs(commit);
  const closed = waiting ? { finished: commit.started, kind: 'empty' } : {};
  return Buffer.from(JSON.stringify({ ...commit, provenance, ...closed }));
}

function hasInputs(commit: Pick<CommitRecord, 'provenance'>): boolean {
  return commit.provenance.length > 0;
}
