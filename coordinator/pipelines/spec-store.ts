/**
 * Pipeline specs as versioned data: each is the file /spec (a serialized PipelineInfo) of a finished
 * commit on `__spec__@<pipeline>`. Commits never change, so decoded specs are remembered by commit.
 */
import { invalidInput, notFound, wrap } from '../../core/errors.js';
import { sha256Hex } from '../../core/sha256.js';
import { PipelineInfo } from '../../proto/generated/pps.js';
import { decodeNode, writeRun, type Storage } from '../../storage/index.js';
import type { DirNode, Wait } from '../../storage/types.js';
import type { Meta } from '../meta/index.js';
import { commitKey, SPEC_REPO, type CommitRecord } from '../versioning/model.js';
import { SPEC_FILE } from './model.js';

const REMEMBERED_MAX = 2_000;
const SPEC_BYTES_MAX = 8 * 1024 * 1024;

export interface SpecStoreDeps {
  readonly meta: Meta;
  readonly storage: Storage;
}

export class SpecStore {
  /** Spec commit id → spec; oldest first. */
  readonly #loaded = new Map<string, PipelineInfo>();
  /**
   * Digest of a spec's bytes → its tree, so that a repeated transaction stores nothing twice. Only
   * within one garbage-collection epoch: later on the tree may be gone.
   */
  readonly #written = new Map<string, DirNode>();

  constructor(readonly deps: SpecStoreDeps) {}

  /** Stores a spec and answers the root directory a spec commit is to have. */
  async write(spec: PipelineInfo, wait: Wait): Promise<DirNode> {
    const bytes = PipelineInfo.encode(spec).finish();
    if (bytes.byteLength > SPEC_BYTES_MAX) {
      throw invalidInput(
        `the spec of pipeline ${spec.pipeline?.name} has ${bytes.byteLength} bytes, ` +
          `at most ${SPEC_BYTES_MAX} are allowed; pass large values as files of an input`,
      );
    }
    const { storage } = this.deps;
    const digest = `${storage.epoch}/${sha256Hex(bytes)}`;
    const known = this.#written.get(digest);
    if (known) return known;
    const writer = storage.newWriter({ signal: wait.signal });
    const content = await writer.writeBytes(bytes);
    await writer.flush(wait);
    const op = { op: 'set', path: SPEC_FILE, seq: 0, content } as const;
    const run = await writeRun(storage, [op], wait);
    const root = await storage.trees.apply(undefined, [run], { ...wait, ordinal: 0, mode: 'put' });
    remember(this.#written, digest, root);
    return root;
  }

  /**
   * The spec of a pipeline as of a spec commit. Do not change it. Throws NOT_FOUND or what storage
   * throws, with the text clients look for.
   */
  async load(
    spec: { readonly pipeline: string; readonly specCommit: string },
    wait: Wait,
  ): Promise<PipelineInfo> {
    const known = this.#loaded.get(spec.specCommit);
    if (known) return known;
    try {
      const info = PipelineInfo.decode(await this.#read(spec.specCommit, wait));
      remember(this.#loaded, spec.specCommit, info);
      return info;
    } catch (error) {
      if (wait.signal.aborted) throw error;
      throw wrap(
        `could not retrieve pipeline spec file from PFS for pipeline '${spec.pipeline}'`,
        error,
      );
    }
  }

  async #read(specCommit: string, wait: Wait): Promise<Buffer> {
    const { meta, storage } = this.deps;
    const kv = await meta.get(commitKey({ repo: SPEC_REPO, id: specCommit }), wait);
    const commit = kv && (JSON.parse(kv.value.toString()) as CommitRecord);
    if (!commit?.root) throw notFound(`commit ${specCommit} not found in repo ${SPEC_REPO}`);
    const root = decodeNode(Buffer.from(commit.root, 'base64'));
    const node =
      root.type === 'dir' ? await storage.trees.lookup(root, SPEC_FILE, wait) : undefined;
    if (node?.type !== 'file') {
      throw notFound(`file ${SPEC_FILE} not found in ${SPEC_REPO}@${specCommit}`);
    }
    const parts: Buffer[] = [];
    for await (const part of storage.read(node, wait)) parts.push(part);
    return Buffer.concat(parts);
  }
}

function remember<T>(map: Map<string, T>, key: string, value: T): void {
  map.set(key, value);
  const oldest = map.keys().next().value;
  if (map.size > REMEMBERED_MAX && oldest !== undefined) map.delete(oldest);
}
