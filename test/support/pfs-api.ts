/** The rpcs of pfs.API as tables of cases need them: short names, replies as promises. */
import { Metadata, type ClientReadableStream, type ClientWritableStream } from '@grpc/grpc-js';
import { CLIENT_OPTIONS, insecure } from '../../proto/channel.js';
import {
  CopyFileRequest,
  CreateBranchRequest,
  CreateRepoRequest,
  Delimiter,
  DiffFileRequest,
  FinishCommitRequest,
  GetFileRequest,
  InspectCommitRequest,
  ListFileRequest,
  PutFileRequest,
  StartCommitRequest,
  type APIClient,
  type BranchInfo,
  type Commit,
  type CommitInfo,
  type DiffFileResponse,
  type File,
  type FileInfo,
  type RepoInfo,
} from '../../proto/generated/pfs.js';
import * as messages from '../../proto/generated/pfs.js';
import { PfsClient } from '../../proto/services.js';

/** What a failed call tells. */
export interface Refusal {
  readonly code: number;
  readonly details: string;
}

/** A message of a put by the path it starts, or without one more bytes of the last. */
export type PutPart = Partial<Omit<PutFileRequest, 'file' | 'value'>> & {
  readonly path?: string;
  /** Another `repo@ref` than the call's. */
  readonly at?: string;
  readonly value?: string | Buffer;
};

export class PfsApi {
  readonly client: APIClient;
  #names = 0;

  constructor(address: string) {
    this.client = new PfsClient(address, insecure(), CLIENT_OPTIONS);
  }

  close(): void {
    this.client.close();
  }

  /** Calls a unary method. */
  call<T = object>(method: keyof APIClient, request: object, metadata?: Metadata): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const start = this.client[method] as (
        q: object,
        m: Metadata,
        done: (error: Error | null, reply: T) => void,
      ) => void;
      start.call(this.client, whole(method, request), metadata ?? new Metadata(), (error, reply) =>
        error ? reject(error) : resolve(reply),
      );
    });
  }

  stream<T>(method: keyof APIClient, request: object): ClientReadableStream<T> {
    const start = this.client[method] as (q: object) => ClientReadableStream<T>;
    return start.call(this.client, whole(method, request));
  }

  async all<T>(method: keyof APIClient, request: object): Promise<T[]> {
    const found: T[] = [];
    for await (const each of this.stream<T>(method, request)) found.push(each as T);
    return found;
  }

  /** A repo with a name of its own. */
  async repo(name?: string): Promise<string> {
    this.#names += 1;
    const repo = name ?? `r${this.#names}`;
    await this.call('createRepo', CreateRepoRequest.fromPartial({ repo: { name: repo } }));
    return repo;
  }

  inspectRepo(name: string): Promise<RepoInfo> {
    return this.call('inspectRepo', { repo: { name } });
  }

  /** `branch('a@b', { head: 'master', from: ['x@master'] })` */
  async branch(
    name: string,
    o: { head?: string; from?: string[]; trigger?: object } = {},
  ): Promise<void> {
    const { repo, id } = refOf(name);
    const head = o.head === undefined ? {} : { head: commitOf(`${repo}@${o.head}`) };
    await this.call(
      'createBranch',
      CreateBranchRequest.fromPartial({
        branch: branchOf(`${repo}@${id}`),
        ...head,
        provenance: (o.from ?? []).map(branchOf),
        ...(o.trigger ? { trigger: o.trigger } : {}),
      }),
    );
  }

  inspectBranch(name: string): Promise<BranchInfo> {
    return this.call('inspectBranch', { branch: branchOf(name) });
  }

  /** `start('r@master')`, `start('r', { parent: 'id' })`: the id of the new commit. */
  async start(name: string, o: { parent?: string; provenance?: object[] } = {}): Promise<string> {
    const [repo = '', branch = ''] = name.split('@');
    const request = StartCommitRequest.fromPartial({
      parent: { repo: { name: repo }, id: o.parent ?? '' },
      branch,
      provenance: o.provenance ?? [],
    });
    return (await this.call<Commit>('startCommit', request)).id;
  }

  async finish(name: string, o: { empty?: boolean; description?: string } = {}): Promise<void> {
    const request = FinishCommitRequest.fromPartial({ commit: commitOf(name), ...o });
    await this.call('finishCommit', request);
  }

  /** An empty finished commit on the branch. */
  async commit(name: string): Promise<string> {
    const id = await this.start(name);
    await this.finish(`${name.split('@')[0]}@${id}`);
    return id;
  }

  async build(name: string, o: object = {}): Promise<string> {
    const [repo = '', branch = ''] = name.split('@');
    const request = { parent: { repo: { name: repo }, id: '' }, branch, ...o };
    return (await this.call<Commit>('buildCommit', request)).id;
  }

  inspect(name: string, blockState = 0): Promise<CommitInfo> {
    const request = InspectCommitRequest.fromPartial({ commit: commitOf(name), blockState });
    return this.call('inspectCommit', request);
  }

  async list(repo: string, o: object = {}): Promise<string[]> {
    const request = { repo: { name: repo }, ...o };
    const infos = await this.all<CommitInfo>('listCommitStream', request);
    return infos.map(({ commit }) => commit?.id ?? '');
  }

  /** One put stream of parts to `repo@ref`. */
  async put(name: string, ...parts: PutPart[]): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const call: ClientWritableStream<PutFileRequest> = this.client.putFile((error) =>
        error ? reject(error) : resolve(),
      );
      call.on('error', () => undefined);
      for (const part of parts) call.write(putRequest(name, part));
      call.end();
    });
  }

  /** Files as one commit. */
  async files(name: string, files: Readonly<Record<string, string>>): Promise<void> {
    const parts = Object.entries(files).map(([path, value]) => ({ path, value }));
    await this.put(name, ...parts);
  }

  /** The messages of a get. */
  async messages(name: string, o: { offset?: number; size?: number } = {}): Promise<Buffer[]> {
    const request = GetFileRequest.fromPartial({
      file: fileOf(name),
      offsetBytes: o.offset ?? 0,
      sizeBytes: o.size ?? 0,
    });
    const parts = await this.all<Buffer | { value: Buffer }>('getFile', request);
    return parts.map((part) => Buffer.from(Buffer.isBuffer(part) ? part : part.value));
  }

  async get(name: string, o: { offset?: number; size?: number } = {}): Promise<string> {
    return Buffer.concat(await this.messages(name, o)).toString();
  }

  inspectFile(name: string): Promise<FileInfo> {
    return this.call('inspectFile', { file: fileOf(name) });
  }

  async ls(name: string, o: { history?: number; full?: boolean } = {}): Promise<FileInfo[]> {
    const request = ListFileRequest.fromPartial({ file: fileOf(name), ...o });
    return this.all('listFileStream', request);
  }

  async walk(name: string): Promise<string[]> {
    return pathsOf(await this.all<FileInfo>('walkFile', { file: fileOf(name) }));
  }

  async glob(name: string): Promise<string[]> {
    const { commit, path } = fileOf(name);
    return pathsOf(await this.all<FileInfo>('globFileStream', { commit, pattern: path }));
  }

  async copy(src: string, dst: string, overwrite = false): Promise<void> {
    const request = { src: fileOf(src), dst: fileOf(dst), overwrite };
    await this.call('copyFile', CopyFileRequest.fromPartial(request));
  }

  async remove(name: string): Promise<void> {
    await this.call('deleteFile', { file: fileOf(name) });
  }

  /** Paths that are new, and paths that are old. */
  async diff(
    newName: string,
    oldName?: string,
    shallow = false,
  ): Promise<{ added: string[]; removed: string[] }> {
    const old = oldName === undefined ? {} : { oldFile: fileOf(oldName) };
    const request = DiffFileRequest.fromPartial({ newFile: fileOf(newName), ...old, shallow });
    const { newFiles, oldFiles } = await this.call<DiffFileResponse>('diffFile', request);
    return { added: pathsOf(newFiles), removed: pathsOf(oldFiles) };
  }
}

export const pathsOf = (infos: readonly FileInfo[]): string[] =>
  infos.map(({ file }) => file?.path ?? '');

/** The request with every field it lacks. */
function whole(method: string, request: object): object {
  const name = `${method.charAt(0).toUpperCase()}${method.slice(1).replace(/Stream$/, '')}Request`;
  const type = (messages as Record<string, unknown>)[name] as
    { fromPartial(part: object): object } | undefined;
  return type ? type.fromPartial(request) : request;
}

function refOf(name: string): { repo: string; id: string } {
  const at = name.indexOf('@');
  return at < 0
    ? { repo: name, id: 'master' }
    : { repo: name.slice(0, at), id: name.slice(at + 1) };
}

export function commitOf(name: string): Commit {
  const { repo, id } = refOf(name);
  return { repo: { name: repo }, id };
}

export function branchOf(name: string): { repo: { name: string }; name: string } {
  const { repo, id } = refOf(name);
  return { repo: { name: repo }, name: id };
}

/** `repo@ref:path`; everything after the first colon is path. */
export function fileOf(name: string): File {
  const at = name.indexOf(':');
  return { commit: commitOf(name.slice(0, at)), path: name.slice(at + 1) };
}

function putRequest(name: string, { path, at, value, ...more }: PutPart): PutFileRequest {
  return PutFileRequest.fromPartial({
    delimiter: Delimiter.NONE,
    ...more,
    ...(path === undefined ? {} : { file: { commit: commitOf(at ?? name), path } }),
    value: Buffer.from(value ?? ''),
  });
}

/** Code and text of the failure; fails when the work succeeds. */
export async function refusalOf(work: Promise<unknown>): Promise<Refusal> {
  let answer: unknown;
  try {
    answer = await work;
  } catch (error) {
    const { code, details } = error as Refusal;
    return { code, details: details ?? String(error) };
  }
  throw new Error(`this was not refused: ${JSON.stringify(answer)}`);
}
