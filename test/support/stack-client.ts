/** The v1 API as tests use it: promises, and a few things every test of jobs needs. */
import { Metadata, type ClientReadableStream, type ServiceError } from '@grpc/grpc-js';
import { CLIENT_OPTIONS, insecure } from '../../proto/channel.js';
import {
  Delimiter,
  GetFileRequest,
  ListFileRequest,
  PutFileRequest,
  type APIClient as PfsApi,
} from '../../proto/generated/pfs.js';
import {
  APIClient as PpsClient,
  CreatePipelineRequest,
  JobState,
  ListJobRequest,
  type JobInfo,
} from '../../proto/generated/pps.js';
import { PfsClient } from '../../proto/services.js';
import { END_MARKER } from '../../proto/streams.js';
import { until } from './until.js';

const ENDED = new Set<JobState>([JobState.JOB_SUCCESS, JobState.JOB_FAILURE, JobState.JOB_KILLED]);

/** Counters of a job that must be the same however often things broke on the way. */
export interface JobCounts {
  readonly state: string;
  readonly processed: number;
  readonly skipped: number;
  readonly failed: number;
  readonly recovered: number;
  readonly total: number;
}

export class StackClient implements AsyncDisposable {
  readonly pfs: PfsApi;
  readonly pps: PpsClient;

  constructor(address: string) {
    // A lost server is tried again soon: tests bring it back within seconds.
    const options = { ...CLIENT_OPTIONS, 'grpc.max_reconnect_backoff_ms': 500 };
    this.pfs = new PfsClient(address, insecure(), options);
    this.pps = new PpsClient(address, insecure(), options);
  }

  /** Calls a unary method of `pfs` or `pps`. */
  async call<Q, S>(
    method: (request: Q, done: (error: ServiceError | null, response: S) => void) => unknown,
    request: Q,
  ): Promise<S> {
    return new Promise<S>((resolve, reject) => {
      method(request, (error, response) => (error ? reject(error) : resolve(response)));
    });
  }

  async createRepo(name: string): Promise<void> {
    const request = { repo: { name }, description: '', update: false };
    await this.call(this.pfs.createRepo.bind(this.pfs), request);
  }

  /** Puts whole files in one upload, as one commit on the branch. */
  async put(repo: string, files: Readonly<Record<string, string>>): Promise<void> {
    const upload = this.openPut();
    for (const [path, content] of Object.entries(files)) {
      upload.write({ ...fileOf(repo, path), value: Buffer.from(content) });
    }
    await upload.end();
  }

  /** An upload that a test can cut off anywhere. `deadlineMs` from now. */
  openPut(o: { deadlineMs?: number } = {}): Upload {
    return new Upload(this.pfs, o);
  }

  async createPipeline(request: CreatePipelineRequest): Promise<void> {
    await this.call(this.pps.createPipeline.bind(this.pps), request);
  }

  /** Jobs of the pipeline, oldest first. */
  async jobs(pipeline: string): Promise<JobInfo[]> {
    const request = ListJobRequest.fromPartial({ pipeline: { name: pipeline }, history: -1 });
    const list = await all(this.pps.listJobStream(request));
    return list.reverse();
  }

  /** The `count`-th job (from 1) of the pipeline once it has ended. */
  async ended(pipeline: string, count = 1, timeoutMs = 120_000): Promise<JobInfo> {
    return until(
      `job ${count} of ${pipeline} has ended`,
      async () => {
        const job = (await this.jobs(pipeline))[count - 1];
        return job && ENDED.has(job.state) && job;
      },
      timeoutMs,
    );
  }

  /** The `count`-th job while it runs and has at least `processed` datums done. */
  async running(pipeline: string, processed: number, count = 1): Promise<JobInfo> {
    return until(`job ${count} of ${pipeline} has done ${processed} datums`, async () => {
      const job = (await this.jobs(pipeline))[count - 1];
      return job && job.dataProcessed >= processed && job;
    });
  }

  /** Path → content of every file of a commit or branch. */
  async files(repo: string, commit: string): Promise<Record<string, string>> {
    const file = { commit: { repo: { name: repo }, id: commit }, path: '' };
    const listed = await all(this.pfs.walkFile({ file }));
    const result: Record<string, string> = {};
    for (const info of listed) {
      if (!info.file || info.fileType !== 1) continue;
      const request = GetFileRequest.fromPartial({ file: { ...file, path: info.file.path } });
      const parts = await all(this.pfs.getFile(request));
      result[info.file.path] = Buffer.concat(
        parts.map((part) => part ?? Buffer.alloc(0)),
      ).toString();
    }
    return result;
  }

  /** Names in the root of a branch; empty when it has no head. */
  async list(repo: string, commit: string): Promise<string[]> {
    const request = ListFileRequest.fromPartial({
      file: { commit: { repo: { name: repo }, id: commit }, path: '/' },
    });
    const listed = await all(this.pfs.listFileStream(request));
    return listed.map((info) => info.file?.path ?? '');
  }

  async commits(repo: string): Promise<string[]> {
    const request = { repo: { name: repo }, from: undefined, to: undefined, number: 0 };
    const listed = await all(this.pfs.listCommitStream({ ...request, reverse: false }));
    return listed.map((info) => info.commit?.id ?? '');
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.pfs.close();
    this.pps.close();
    return Promise.resolve();
  }
}

export class Upload {
  readonly #call;
  readonly #done: Promise<void>;

  constructor(pfs: PfsApi, o: { deadlineMs?: number }) {
    const metadata = new Metadata();
    metadata.set(END_MARKER, '1');
    const options = o.deadlineMs === undefined ? {} : { deadline: Date.now() + o.deadlineMs };
    let settle: (error: ServiceError | null) => void = () => undefined;
    this.#done = new Promise((resolve, reject) => {
      settle = (error) => (error ? reject(error) : resolve());
    });
    this.#done.catch(() => undefined);
    this.#call = pfs.putFile(metadata, options, (error) => settle(error));
    this.#call.on('error', () => undefined);
  }

  write(message: Partial<PutFileRequest>): void {
    this.#call.write(PutFileRequest.fromPartial({ delimiter: Delimiter.NONE, ...message }));
  }

  /** Sends the end marker and waits for the answer. */
  async end(): Promise<void> {
    this.write({ end: true });
    this.#call.end();
    await this.#done;
  }

  /** Ends the stream without the marker: what an aborted client of ours never does. */
  async endUnmarked(): Promise<void> {
    this.#call.end();
    await this.#done;
  }

  cancel(): void {
    this.#call.cancel();
  }

  /** The server's answer. */
  async answer(): Promise<void> {
    await this.#done;
  }
}

/** A pipeline that runs bash code over the files of the repo `<name>_in`, at /pfs/src. */
export async function bashPipeline(
  client: StackClient,
  name: string,
  code: string,
  more: object = {},
): Promise<void> {
  await client.createRepo(`${name}_in`).catch(() => undefined);
  await client.createPipeline(
    CreatePipelineRequest.fromPartial({
      pipeline: { name },
      transform: { cmd: ['bash'], stdin: [code] },
      input: { pfs: { repo: `${name}_in`, glob: '/*', name: 'src' } },
      ...more,
    }),
  );
}

export function fileOf(repo: string, path: string, branch = 'master'): Partial<PutFileRequest> {
  return { file: { commit: { repo: { name: repo }, id: branch }, path } };
}

export function countsOf(job: JobInfo): JobCounts {
  return {
    state: JobState[job.state] ?? String(job.state),
    processed: job.dataProcessed,
    skipped: job.dataSkipped,
    failed: job.dataFailed,
    recovered: job.dataRecovered,
    total: job.dataTotal,
  };
}

async function all<T>(call: ClientReadableStream<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of call) list.push(item as T);
  return list;
}

export function openStackClient(address: string): StackClient {
  return new StackClient(address);
}
