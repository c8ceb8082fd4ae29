/**
 * Reads what keys in etcd lead to, in the way their users do, and notes which objects that took. It
 * knows each kind of key, as the collector does not.
 */
import { inflateRawSync } from 'node:zlib';
import { silentLog } from '../../../core/log.js';
import { NEVER } from '../../../core/signals.js';
import { systemClock } from '../../../core/clock.js';
import {
  decodeNode,
  readRun,
  refFromText,
  runFromText,
  runObjects,
  Storage,
  type ObjectStore,
} from '../../../storage/index.js';
import type { TreeNode } from '../../../storage/types.js';

const wait = { signal: NEVER };

export class RootReader {
  readonly keys = new Set<string>();
  readonly #store: ObjectStore;
  #storage: Storage;

  constructor(store: ObjectStore) {
    this.#store = Object.create(store) as ObjectStore;
    this.#store.get = (key, options) => {
      this.keys.add(key);
      return store.get(key, options);
    };
    this.#storage = this.#open();
  }

  #open(): Storage {
    return new Storage(this.#store, { epoch: 0, log: silentLog, clock: systemClock });
  }

  async read(key: string, value: string): Promise<void> {
    // Pages are remembered by content: the same one of another epoch would not be asked for.
    this.#storage = this.#open();
    if (key.startsWith('cm/')) await this.#node(fromBase64(record(value, 'root')));
    else if (key.startsWith('dl/')) {
      for (const run of (JSON.parse(value) as { runs: string[] }).runs) await this.#run(run);
    } else if (key.startsWith('object/')) {
      const { node, blob } = JSON.parse(value) as { node?: string; blob?: string };
      if (node !== undefined) await this.#node(fromBase64(node));
      if (blob !== undefined) await this.#node(decodeNode(await this.#blob(blob)));
    } else if (key.startsWith('job/')) await this.#job(value);
  }

  async #job(value: string): Promise<void> {
    const { plan, results } = JSON.parse(value) as { plan: string; results?: string };
    const { spec, segments } = (await this.#json(plan)) as {
      spec: string;
      segments: { ref: string }[];
    };
    await this.#json(spec);
    for (const { ref } of segments) {
      for (const { files } of (await this.#json(ref)) as { files: { node: string }[] }[]) {
        for (const { node } of files) await this.#node(fromBase64(node));
      }
    }
    if (results === undefined) return;
    const done = (await this.#json(results)) as { results: { run: string; log: string }[] };
    for (const { run, log } of done.results) {
      await this.#run(run);
      await this.#json(log);
    }
  }

  async #blob(text: string): Promise<Buffer> {
    return this.#storage.getObject(refFromText(text), wait);
  }

  async #json(text: string): Promise<unknown> {
    return JSON.parse(inflateRawSync(await this.#blob(text)).toString());
  }

  async #run(text: string): Promise<void> {
    const run = runFromText(text);
    await runObjects(this.#storage, run, wait);
    for await (const op of readRun(this.#storage, run, wait)) {
      if (op.op === 'set') await this.#node({ type: 'file', changed: 0, ...op.content });
      if (op.op === 'graft') await this.#node(op.node);
    }
  }

  async #node(node: TreeNode): Promise<void> {
    if (node.type === 'file') {
      for await (const _part of this.#storage.read(node, wait));
      return;
    }
    for await (const entry of this.#storage.trees.walk(node, '', wait)) {
      if (entry.node.type === 'file') await this.#node(entry.node);
    }
  }
}

function record(value: string, field: string): string {
  return (JSON.parse(value) as Record<string, string>)[field] as string;
}

function fromBase64(text: string): TreeNode {
  return decodeNode(Buffer.from(text, 'base64'));
}
