/**
 * What broken objects mean to people: which files of which commits can not be read, and which jobs,
 * uploads and other records. Runs beside collections of garbage (storage/gc/).
 */
import { decodeNode, runFromText, type Storage } from '../../storage/index.js';
import {
  findBroken,
  HurtFiles,
  Marker,
  type CheckCounts,
  type Hurt,
} from '../../storage/gc/index.js';
import { keyOf } from '../../storage/refs.js';
import { textOfMapValue } from './map-values.js';

interface Wait {
  readonly signal: AbortSignal;
}

export interface EtcdRecord {
  readonly key: string;
  readonly value: string;
}

export interface CheckOptions extends Wait {
  /** Every key as of one revision, sorted. Read twice when something is broken. */
  readonly records: () => AsyncIterable<EtcdRecord>;
  readonly data: boolean;
  readonly directory: string;
  readonly onFinding: (text: string) => void;
}

/** Findings told; the rest is counted. */
const TOLD_MAX = 10_000;
/** Files of one repo that are remembered from commit to commit. */
const FILES_MAX = 10_000;

/** Tells what is broken and what is hurt by it; the objects that were looked at. */
export async function checkObjects(
  storage: Storage,
  options: CheckOptions,
): Promise<Readonly<CheckCounts>> {
  const { signal, data, directory, records } = options;
  const texts = (async function* () {
    for await (const { value } of records()) yield value;
  })();
  const { counts, keys } = await findBroken(storage, {
    ...{ signal, data, directory, textOfMapValue },
    roots: texts,
  });
  if (counts.broken > 0) await new Report(storage, keys, options).run();
  return counts;
}

/** Files of a repo with the commits that have them. */
interface Seen extends Hurt {
  readonly first: string;
  last: string;
  commits: number;
}

class Report {
  readonly #hurt: HurtFiles;
  readonly #named = new Set<string>();
  #repo = '';
  #files = new Map<string, Seen>();
  #told = 0;

  constructor(
    readonly storage: Storage,
    readonly broken: ReadonlyMap<string, string>,
    readonly options: CheckOptions,
  ) {
    this.#hurt = new HurtFiles(storage, broken, options);
  }

  async run(): Promise<void> {
    for await (const { key, value } of this.options.records()) {
      this.options.signal.throwIfAborted();
      const [kind, repo = '', id = ''] = key.split('/');
      if (repo !== this.#repo || kind !== 'cm') this.#endRepo();
      this.#repo = repo;
      if (kind === 'cm') await this.#commit(repo, id, value);
      else if (kind === 'dl') await this.#upload(repo, id, value);
      else await this.#other(key, value);
    }
    this.#endRepo();
    for (const key of this.broken.keys()) {
      if (!this.#named.has(key)) this.#tell(key, 'what it was needed for is not known');
    }
    if (this.#told > TOLD_MAX) {
      this.options.onFinding(`storage error: ${this.#told - TOLD_MAX} more of the kind`);
    }
  }

  async #commit(repo: string, id: string, value: string): Promise<void> {
    const { root, ...rest } = JSON.parse(Buffer.from(value, 'latin1').toString()) as {
      root?: string;
    };
    await this.#other(`cm/${repo}/${id}`, JSON.stringify(rest));
    if (root === undefined) return;
    for await (const hurt of this.#hurt.below(decodeNode(Buffer.from(root, 'base64')))) {
      const name = `${hurt.key} ${hurt.path}`;
      const seen = this.#files.get(name);
      if (seen) {
        seen.last = id;
        seen.commits += 1;
      } else if (this.#files.size < FILES_MAX) {
        this.#files.set(name, { ...hurt, first: id, last: id, commits: 1 });
      } else this.#file(repo, { ...hurt, first: id, last: id, commits: 1 });
    }
  }

  #endRepo(): void {
    for (const seen of this.#files.values()) this.#file(this.#repo, seen);
    if (this.#files.size > 0) this.#files = new Map();
  }

  #file(repo: string, seen: Seen): void {
    const { first, last, commits } = seen;
    const later = commits === 2 ? '1 later commit' : `${commits - 1} later commits`;
    const more = commits === 1 ? '' : ` and ${later}, the last ${repo}@${last},`;
    this.#tell(seen.key, `${whatOf(seen)} in ${repo}@${first}${more} can not be read`);
  }

  async #upload(repo: string, id: string, value: string): Promise<void> {
    for (const run of (JSON.parse(value) as { runs: string[] }).runs) {
      for await (const hurt of this.#hurt.inRun(runFromText(run))) {
        const what = hurt.directory ? 'an upload' : `file ${hurt.path}`;
        this.#tell(hurt.key, `${what} in the open commit ${repo}@${id} can not be read`);
      }
    }
  }

  /** Records that refer to something broken, but for the trees of commits. */
  async #other(key: string, value: string): Promise<void> {
    const found = new Set<string>();
    const marker = new Marker(this.storage, {
      signal: this.options.signal,
      textOfMapValue,
      trees: false,
      seenMax: 1 << 16,
      onLive: (object) => {
        const name = keyOf(object);
        if (this.broken.has(name)) found.add(name);
        return undefined;
      },
      onBroken: (ref) => void found.add(keyOf(ref)),
    });
    await marker.root(value);
    for (const name of found) this.#tell(name, meaningOf(key));
  }

  #tell(key: string, what: string): void {
    this.#named.add(key);
    this.#told += 1;
    if (this.#told > TOLD_MAX) return;
    const why = this.broken.get(key) ?? 'can not be read';
    this.options.onFinding(`storage error: object ${key} ${why}: ${what}`);
  }
}

function whatOf({ path, directory }: Hurt): string {
  if (!directory) return `file ${path}`;
  return `a part of directory ${path === '' ? '/' : path}`;
}

/** What a record is to people. */
function meaningOf(key: string): string {
  const [kind, a = '', b = ''] = key.split('/');
  switch (kind) {
    case 'cm':
      return `the list of datums of commit ${a}@${b} can not be read`;
    case 'job':
      return `a part of the plan, results, logs or statistics of job ${b} of pipeline ${a} can not be read`;
    case 'mh':
      return `datums of earlier jobs of pipeline ${a} can not be reused`;
    case 'object':
      return `object ${a} of the ObjectAPI can not be read`;
    case 's3':
      return `an upload in parts through the S3 gateway (${key}) can not be completed`;
    case 'll':
      return `a part of the log of pipeline ${a} can not be read`;
    case 'open':
      return `the open commit ${a}@${b} can not be read`;
    default:
      return `record ${key} refers to it`;
  }
}
