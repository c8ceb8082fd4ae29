/**
 * Runs one datum in a slot: inputs in, user code, outputs collected, tried again where that may
 * help (docs/worker.md). Failures of the datum are part of the result; failures of the store or of
 * this machine are thrown, so that the task goes to another worker.
 */
import type { Clock } from '../core/clock.js';
import { AppError, codeOf, messageOf } from '../core/errors.js';
import { backoffMs } from '../core/retry.js';
import type { ContentWriter } from '../storage/index.js';
import type { FileContent, RunOp, Wait } from '../storage/types.js';
import { isBroken } from '../storage/unreadable.js';
import type { DatumResult, JobSpec, WorkDatum, WorkStats } from '../queue/messages.js';
import type { Attempts } from './attempts.js';
import { collectOutput, type Collected, type CollectOptions } from './collect.js';
import {
  durationText,
  ownEnvironment,
  pipelineEnvironment,
  stdinText,
  type EnvironmentExtras,
  type WorkerIdentity,
} from './environment.js';
import { filesOf } from './datum-files.js';
import type { GitClones } from './git-clone.js';
import type { RunImage } from './images.js';
import { LazyFeed } from './lazy-feed.js';
import type { InputTrees } from './ports.js';
import type { SlotFiles } from './slot-files.js';
import type { RunDone, SpawnerClient } from './spawner-client.js';
import type { RunCommand } from './spawner-protocol.js';
import { unreadableInput } from './input-error.js';
import type { TaskInputs } from './task-inputs.js';
import type { TaskLog } from './task-log.js';
import type { DatumS3 } from './s3/datum-s3.js';
import { warmRequest } from './warm-request.js';

export interface Slot {
  readonly index: number;
  readonly files: SlotFiles;
}

export interface DatumDeps {
  readonly clock: Clock;
  readonly spawner: Pick<SpawnerClient, 'run' | 'makePipes'>;
  /** Content for lazy inputs. */
  readonly read: (content: FileContent, wait: Wait) => AsyncIterable<Buffer>;
  readonly trees: InputTrees;
  readonly identity: WorkerIdentity;
  readonly clones: Pick<GitClones, 'place'>;
}

export interface DatumContext extends Wait {
  readonly spec: JobSpec;
  readonly slot: Slot;
  readonly log: TaskLog;
  readonly inputs: TaskInputs;
  readonly commands: Commands;
  readonly writer: () => ContentWriter;
  /** Only for datums that read or write through S3. */
  readonly s3?: DatumS3 | undefined;
  readonly user: RunCommand['user'];
  readonly image: RunImage;
  /** Lines for the log of every datum. */
  readonly notes: readonly string[];
  readonly extras: EnvironmentExtras;
  readonly attempts: Attempts;
  /** Told of every try, which may be cancelled by itself, and of what it has cost so far. */
  readonly onTry?: (attempt: AbortController, stats: WorkStats) => void;
}

export interface DatumDone {
  readonly result: DatumResult;
  /** Outputs of a successful datum. */
  readonly ops: readonly RunOp[];
  readonly hasMkdir: boolean;
}

/** How long the store may be away before the task is given back. */
const STORE_PATIENCE_MS = 60_000;
const RESTARTED = 'the datum was restarted on request';

/** The commands of one task, each made once. */
export class Commands {
  readonly #made = new Map<readonly string[], RunCommand>();

  /** The command with these words, by the identity of their array. */
  of(words: readonly string[], make: () => RunCommand): RunCommand {
    const known = this.#made.get(words);
    if (known) return known;
    const made = make();
    this.#made.set(words, made);
    return made;
  }
}

/** A failed try. `userCode`: the process itself failed, so err_cmd may recover it. */
class TryError extends Error {
  override readonly name = 'TryError';
  constructor(
    message: string,
    readonly userCode: boolean,
    /** What it wrote last. */
    readonly words: readonly string[] = [],
  ) {
    super(message);
  }
}

interface RunHow {
  readonly stdin: string;
  /** 0 = none. */
  readonly timeoutMs: number;
  /** The process stays alive for the next datum. */
  readonly warm: boolean;
  readonly signal?: AbortSignal;
}

interface Totals {
  downloadMs: number;
  processMs: number;
  uploadMs: number;
  downloadBytes: number;
  uploadBytes: number;
}

export async function runDatum(
  deps: DatumDeps,
  context: DatumContext,
  at: number,
  datum: WorkDatum,
): Promise<DatumDone> {
  return new DatumRun(deps, context, at, datum).run();
}

class DatumRun {
  readonly #stats: Totals = {
    downloadMs: 0,
    processMs: 0,
    uploadMs: 0,
    downloadBytes: 0,
    uploadBytes: 0,
  };
  readonly #firstLine: number;
  #fileBytes = 0;
  #s3Bytes = 0;
  /** What lies in /pfs/out, once it was read. */
  #outNames: readonly string[] | undefined;
  /** Of the try at hand. */
  #signal: AbortSignal;

  constructor(
    readonly deps: DatumDeps,
    readonly context: DatumContext,
    readonly at: number,
    readonly datum: WorkDatum,
  ) {
    context.log.enter({ datum: datum.id, data: filesOf(datum) });
    this.#firstLine = context.log.count;
    this.#signal = context.signal;
  }

  async run(): Promise<DatumDone> {
    const { spec, log, slot } = this.context;
    try {
      for (let tries = 1; ; tries += 1) {
        try {
          return this.#done('success', tries, await this.#try(tries));
        } catch (error) {
          if (!(error instanceof TryError)) throw error;
          if (tries < spec.datumTries) {
            log.say(`failed processing datum: ${error.message}, retrying in 0s`);
            continue;
          }
          log.say(`failed to process datum with error: ${error.message}`);
          if (error.userCode && (await this.#recover())) return this.#done('recovered', tries);
          return this.#done('failed', tries, undefined, reasonOf(error));
        }
      }
    } finally {
      await this.context.s3?.end();
      await slot.files.clear(spec.transform.warm ? undefined : this.#outNames);
    }
  }

  async #try(tries: number): Promise<Collected> {
    const { slot, signal, attempts, onTry } = this.context;
    const attempt = attempts.next();
    this.#signal = attempt.signal;
    onTry?.(attempt, this.#stats);
    try {
      // The datum before left nothing; a failed try did.
      if (tries > 1) await slot.files.clear();
      await slot.files.setOwner(this.context.user);
      await this.context.s3?.begin();
      await this.#download();
      attempt.signal.throwIfAborted();
      const root = await this.#process();
      return await this.#upload(root);
    } catch (error) {
      signal.throwIfAborted();
      if (!attempt.signal.aborted) throw error;
      throw new TryError(RESTARTED, false);
    } finally {
      this.#signal = signal;
    }
  }

  async #download(): Promise<void> {
    const { log, inputs, slot } = this.context;
    const start = this.deps.clock.monotonicMs();
    log.say('starting to download data');
    for (const note of this.context.notes) log.say(note);
    const bytes = await this.#patiently('download', async () => {
      try {
        const bytes = await inputs.place(this.at, slot.files);
        await this.#clone();
        await slot.files.settle();
        const pipes = inputs.lazy.map(({ target }) => target);
        if (pipes.length > 0) await this.deps.spawner.makePipes(pipes);
        return bytes;
      } catch (error) {
        await slot.files.clear();
        throw error;
      }
    });
    const ms = this.deps.clock.monotonicMs() - start;
    inputs.runAhead(this.at);
    this.#stats.downloadMs += ms;
    // Its files count once, however many tries it takes.
    this.#stats.downloadBytes += bytes - this.#fileBytes;
    this.#fileBytes = bytes;
    log.say(`finished downloading data after ${durationText(ms)}`);
  }

  /** Clones take the place of the pushes that name them. */
  async #clone(): Promise<void> {
    const { spec, slot, log, signal } = this.context;
    for (const name of new Set(this.datum.inputs.map((input) => input.name))) {
      const git = spec.git?.[name];
      if (!git) continue;
      log.say(`cloning ${git.url}`);
      await this.deps.clones.place(git, slot.files.takeTree(name), { signal });
    }
  }

  /** Runs the command; answers the sandbox's root. */
  async #process(): Promise<string> {
    const { log, spec, image } = this.context;
    const { stdin, warm } = spec.transform;
    const cmd = spec.transform.cmd.length > 0 ? spec.transform.cmd : image.entrypoint;
    if (cmd.length === 0)
      throw new TryError('invalid pipeline transform, no command specified', false);
    log.say('beginning to run user code');
    const done = await this.#fed(cmd, {
      stdin: stdinText(stdin),
      timeoutMs: spec.datumTimeoutMs,
      warm: warm === true,
    });
    this.#stats.processMs += done.ms;
    this.#countS3();
    const failed = this.#failure(done);
    if (failed === undefined) {
      log.say(`finished running user code after ${durationText(done.ms)}`);
      return done.root;
    }
    const failure = isMissing(cmd, done)
      ? `${failed}: ${missingText(cmd, spec.transform)}`
      : failed;
    log.say(`errored running user code after ${durationText(done.ms)}: ${failure}`);
    throw new TryError(`error running user code: ${failure}`, true, done.last);
  }

  #countS3(): void {
    const bytes = this.context.s3?.bytes ?? 0;
    this.#stats.downloadBytes += bytes - this.#s3Bytes;
    this.#s3Bytes = bytes;
  }

  /** Runs a command while its lazy inputs are served. */
  async #fed(cmd: readonly string[], how: RunHow): Promise<RunDone> {
    const { lazy } = this.context.inputs;
    if (lazy.length === 0) return this.#spawn(cmd, how);
    const feed = new LazyFeed({ clock: this.deps.clock, read: this.deps.read }, lazy);
    const both = AbortSignal.any([this.#signal, feed.failed]);
    let done: RunDone;
    try {
      done = await this.#spawn(cmd, { ...how, signal: both });
    } finally {
      await this.#patiently('lazy', async () => {
        this.#stats.downloadBytes += await feed.stop();
      });
    }
    return done;
  }

  async #spawn(cmd: readonly string[], how: RunHow): Promise<RunDone> {
    const { log, spec, slot, user, image, extras, s3, commands } = this.context;
    const { stdin, timeoutMs, warm, signal = this.#signal } = how;
    const first = log.count;
    const command = commands.of(cmd, () => ({
      argv: cmd,
      env: pipelineEnvironment(spec, this.deps.identity, extras),
      cwd: spec.transform.workingDir || image.workingDir || '/',
      stdin,
      user,
      timeoutMs,
    }));
    const own = { ...ownEnvironment(spec, this.datum), ...s3?.env };
    const done = await this.deps.spawner.run(slot.index, command, {
      own: warm ? { request: warmRequest(this.datum, own, command.env) } : { env: own },
      signal: s3 ? AbortSignal.any([signal, s3.failed]) : signal,
      onLines: (from, lines) => log.live(first + from, lines),
    });
    await log.output(done);
    this.context.signal.throwIfAborted();
    // The store's fault is not the datum's: the task is given back.
    s3?.failed.throwIfAborted();
    if (s3 && this.#failure(done) !== undefined) await s3.checkStore(this.context);
    return done;
  }

  #failure({ end }: RunDone): string | undefined {
    switch (end.why) {
      case 'exit': {
        const { acceptReturnCode } = this.context.spec.transform;
        const good = end.code === 0 || acceptReturnCode.includes(end.code);
        return good ? undefined : `exit status ${end.code}`;
      }
      case 'timeout':
        return `context deadline exceeded: it ran longer than datum_timeout ${durationText(this.context.spec.datumTimeoutMs)}`;
      case 'killed':
        return 'the process was killed';
      case 'broken':
      case 'limit':
      case 'failed':
        return end.message;
    }
  }

  async #upload(root: string): Promise<Collected> {
    const { log, slot, writer } = this.context;
    const signal = this.#signal;
    const start = this.deps.clock.monotonicMs();
    log.say('starting to upload output');
    const options = {
      datum: this.datum,
      files: slot.files,
      root,
      trees: this.deps.trees,
      writer,
      signal,
    };
    const collected = await this.#patiently('upload', () => this.#collect(options));
    const ms = this.deps.clock.monotonicMs() - start;
    this.#stats.uploadMs += ms;
    this.#stats.uploadBytes += collected.uploadBytes;
    this.#outNames = collected.names;
    log.say(`finished uploading output after ${durationText(ms)}`);
    return collected;
  }

  async #collect(options: CollectOptions): Promise<Collected> {
    const { spec, s3 } = this.context;
    if (!spec.s3Out || !s3) return collectOutput(options);
    await s3.end();
    const { ops, hasMkdir, bytes } = s3.collected(this.datum.index);
    return { ops, hasMkdir, uploadBytes: bytes, names: [] };
  }

  /** Runs err_cmd after the last failed try, on the same /pfs. */
  async #recover(): Promise<boolean> {
    const { log, spec } = this.context;
    const { errCmd, errStdin } = spec.transform;
    if (errCmd.length === 0) return false;
    log.say('beginning to run user error handling code');
    const done = await this.#spawn(errCmd, {
      stdin: stdinText(errStdin),
      timeoutMs: 0,
      warm: false,
    });
    this.#stats.processMs += done.ms;
    const failure = this.#failure(done);
    const after = durationText(done.ms);
    if (failure === undefined) log.say(`finished running user error handling code after ${after}`);
    else log.say(`errored running user error handling code after ${after}: ${failure}`);
    return failure === undefined;
  }

  /** Waits for a store that is away; what is the datum's own fault becomes a failed try. */
  async #patiently<T>(what: string, work: () => Promise<T>): Promise<T> {
    const { clock } = this.deps;
    const start = clock.monotonicMs();
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work();
      } catch (error) {
        this.#signal.throwIfAborted();
        const code = codeOf(error);
        if (code === 'UNAVAILABLE' || code === 'OVERLOADED' || code === 'DEADLINE') {
          // A writer that failed once stays failed; the task starts again with a new one.
          if (what !== 'download' || clock.monotonicMs() - start > STORE_PATIENCE_MS) throw error;
          await clock.sleep(backoffMs(attempt, { baseDelayMs: 100 }), this.context);
        } else if (isBroken(error)) {
          const named = await unreadableInput(this.deps.trees, this.datum, error, this.context);
          throw new TryError(messageOf(named), false);
        } else if (error instanceof AppError && code !== 'NO_SPACE' && code !== 'CANCELLED') {
          throw new TryError(messageOf(error), false);
        } else throw error;
      }
    }
  }

  #done(
    state: DatumResult['state'],
    tries: number,
    collected?: Collected,
    reason?: string,
  ): DatumDone {
    const { index, id, tag } = this.datum;
    const result: DatumResult = {
      index,
      id,
      tag,
      state,
      tries,
      stats: rounded(this.#stats),
      outputs: collected?.ops.length ?? 0,
      log: [this.#firstLine, this.context.log.count],
      ...(reason === undefined ? {} : { reason }),
    };
    return { result, ops: collected?.ops ?? [], hasMkdir: collected?.hasMkdir ?? false };
  }
}

/** Whether the shell that starts commands said that there is no such command. */
function isMissing([program]: readonly string[], { end, last }: RunDone): boolean {
  if (end.why !== 'exit' || (end.code !== 127 && end.code !== 126)) return false;
  return last.some((line) => /^\S+: \d+: exec: /.test(line) && line.includes(`: ${program}: `));
}

function missingText([program]: readonly string[], { image }: JobSpec['transform']): string {
  const where = image === '' ? 'this worker' : `the image ${image}, or this worker in its place,`;
  return `${where} has no command "${program}" that can be run`;
}

function reasonOf(error: TryError): string {
  const words = error.words.filter((line) => line.trim() !== '').join(' | ');
  return words === '' ? error.message : `${error.message} (last output: ${words})`;
}

function rounded(stats: Totals): WorkStats {
  return {
    ...stats,
    downloadMs: round(stats.downloadMs),
    processMs: round(stats.processMs),
    uploadMs: round(stats.uploadMs),
  };
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
