/**
 * One duty of a worker: a service or spout whose process lives on. Its sandbox is its own, beside the
 * slots of datums.
 *
 * D1 The process ends, with everything it started, before `run` returns.
 * D2 What ends by itself is started again, later and later while it fails soon; on request, at once.
 * D3 A duty that is another's (the coordinator said so) ends at once and stays ended.
 * D4 What can never run as it is specified is not tried again: the coordinator is told, and ends it.
 */
import { join } from 'node:path';
import { codeOf, invalidInput, messageOf } from '../../core/errors.js';
import { backoffMs } from '../../core/retry.js';
import { addAbortListener, cancelledBy, childController } from '../../core/signals.js';
import type { Duty } from '../../proto/generated/tusk.js';
import type { RestartRequest } from '../../queue/index.js';
import type { LiveSpec } from '../../queue/messages.js';
import { refToText, type Storage } from '../../storage/index.js';
import type { Wait } from '../../storage/types.js';
import { slotDir } from '../isolation.js';
import { removeTree } from '../remove-tree.js';
import { SlotFiles } from '../slot-files.js';
import type { RunDone, SpawnerClient } from '../spawner-client.js';
import type { RunCommand } from '../spawner-protocol.js';
import type { TaskDeps } from '../task.js';
import { Forwarder, needFreePort } from './forwarder.js';
import { commandOf, findBox, nothingToRun, placeOf } from './live-box.js';
import { fillLive } from './live-files.js';
import { LiveLog } from './live-log.js';
import { openLiveS3 } from './live-s3.js';
import { Reporter, type ClusterLink } from './reporter.js';
import { Restarts } from './restarts.js';
import { SpoutPipe } from './spout-pipe.js';
import { SpoutSink } from './spout-sink.js';

export interface LiveDeps extends Omit<TaskDeps, 'spawner'> {
  readonly spawner: Pick<SpawnerClient, 'run' | 'openSlot' | 'closeSlot'>;
  readonly link: ClusterLink;
  readonly dataDir: string;
  readonly isolation: 'bwrap' | 'unshare' | 'plain';
  readonly host: string;
}

const RESTART_MS = 1_000;
const RESTART_MS_MAX = 30_000;
/** A process that lived so long was well. */
const HEALTHY_MS = 60_000;
const LAST_LINES = 3;
const LAST_CHARS = 200;
const GOODBYE_MS = 3_000;
const RESTARTED = 'the process is started again: restart datum asked for it';
/** How long the end of a process may follow the end of its pipe. */
const EXIT_MS = 500;

export class LiveRun {
  readonly #stop = new AbortController();
  readonly #reporter: Reporter;
  #done: Promise<void> | undefined;
  #forwarder: Forwarder | undefined;
  readonly #requests = new Restarts();
  #spec: LiveSpec | undefined;
  #commits = 0;
  #restarts = 0;
  #epoch = 0;
  #lastLines: string[] = [];

  constructor(
    readonly deps: LiveDeps,
    readonly duty: Duty,
    /** Number of a sandbox that nobody else uses. */
    readonly slot: number,
  ) {
    const name = { pipeline: duty.pipeline, run: duty.run, worker: deps.identity.worker, job: '' };
    this.#reporter = new Reporter(name, deps.link, deps.clock, ({ epoch }) => {
      this.#epoch = epoch;
    });
  }

  /** Starts; never throws. */
  start(): void {
    const log = this.deps.log.child({ pipeline: this.duty.pipeline, run: this.duty.run });
    this.#done = this.#run().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) log.warn({ err: error }, 'a duty ended');
    });
  }

  /** Kills the process; resolves when nothing of it is left. */
  async stop(why: string): Promise<void> {
    if (!this.#stop.signal.aborted) this.#stop.abort(cancelledBy(why));
    await this.#done;
  }

  /** Starts a service anew with the same inputs, if it is the one that is meant. */
  restart(request: RestartRequest): boolean {
    return this.#requests.ask(request, this.#spec);
  }

  async #run(): Promise<void> {
    using scope = childController(this.#stop.signal);
    const wait: Wait = { signal: scope.signal };
    const telling = this.#reporter.run(wait).catch((error: unknown) => scope.abort(error));
    const dir = slotDir(this.deps.dataDir, this.slot);
    try {
      const spec = await this.#patiently('read its spec', wait, () =>
        this.deps.blobs.get<LiveSpec>(this.duty.spec, wait),
      );
      this.#reporter.name.job = spec.job.job;
      this.#spec = spec;
      const log = this.#log(spec);
      using logging = childController(wait.signal);
      const storing = log.run(logging.signal);
      try {
        await this.#again(spec, log, dir, wait);
      } finally {
        logging.abort(cancelledBy('the end of the duty'));
        await storing;
        await this.#goodbye(log);
      }
    } finally {
      scope.abort(cancelledBy('the end of the duty'));
      await telling;
      await this.#forwarder?.[Symbol.asyncDispose]();
      this.#forwarder = undefined;
      this.deps.spawner.closeSlot(this.slot);
      removeTree(dir);
    }
  }

  /** Starts the process again and again. */
  async #again(spec: LiveSpec, log: LiveLog, dir: string, wait: Wait): Promise<never> {
    for (let attempt = 1; ; attempt += 1) {
      const { clock } = this.deps;
      const startMs = clock.monotonicMs();
      let reason: string;
      let state: 'waiting' | 'blocked' = 'waiting';
      try {
        reason = await this.#once(spec, log, dir, wait);
      } catch (error) {
        wait.signal.throwIfAborted();
        if (error instanceof Impossible) return this.#giveUp(error.message, log, wait);
        reason = `${messageOf(error)}; trying again`;
        state = 'blocked';
      }
      wait.signal.throwIfAborted();
      const asked = this.#requests.taken();
      if (asked) [attempt, reason] = [0, RESTARTED];
      else if (clock.monotonicMs() - startMs > HEALTHY_MS) attempt = 1;
      this.#restarts += 1;
      log.say(reason);
      log.hurry();
      this.#reporter.set({ state, reason, restarts: this.#restarts });
      if (asked) continue;
      const delayMs = RESTART_MS * 2 ** Math.min(attempt - 1, 10);
      await this.#pause(Math.min(RESTART_MS_MAX, delayMs), log, wait);
    }
  }

  /** Waits before the next start, unless one is asked for. */
  async #pause(ms: number, log: LiveLog, wait: Wait): Promise<void> {
    await this.#requests
      .during(wait, (pause) => this.deps.clock.sleep(ms, pause))
      .catch(() => wait.signal.throwIfAborted());
    if (this.#requests.taken()) log.say(RESTARTED);
  }

  /** Tells why (D4), and waits for the end of the duty. */
  async #giveUp(reason: string, log: LiveLog, { signal }: Wait): Promise<never> {
    log.say(reason);
    log.hurry();
    this.#reporter.set({ state: 'impossible', reason });
    return new Promise((_resolve, reject) => {
      addAbortListener(signal, () => reject(signal.reason as Error));
    });
  }

  /** One life of the process; answers how it ended. Throws what kept it from starting. */
  async #once(spec: LiveSpec, log: LiveLog, dir: string, wait: Wait): Promise<string> {
    await this.#openPorts(spec);
    this.#reporter.set({ state: 'starting' });
    const reply = await this.#patiently('hear from the coordinator', wait, () =>
      this.#reporter.tell(wait),
    );
    const files = new SlotFiles(dir);
    const box = await findBox(this.deps, spec, wait);
    if (spec.job.transform.cmd.length === 0 && box.image.entrypoint.length === 0) {
      throw new Impossible(nothingToRun(spec, box));
    }
    const where = { deps: this.deps, storage: this.#storage(), spec, files };
    const place = await fillLive(where, box, reply.marker, wait);
    await using s3 = await openLiveS3(this.deps, this.slot, this.#storage(), spec, wait);
    this.deps.spawner.openSlot({
      slot: this.slot,
      isolation: this.deps.isolation,
      dir,
      pipe: place.pipe,
      mounts: [...(box.image.mounts ?? []), ...place.mounts, ...box.mounts],
      ...placeOf(box, this.deps),
    });
    const command = commandOf(this.deps, spec, box, { ...place.env, ...s3.env });
    for (const note of box.notes) log.say(note);
    log.say('beginning to run user code');
    this.#reporter.set({ state: 'running', reason: '' });
    this.#lastLines = [];
    const done = await this.#requests.during(wait, (life) =>
      this.#live(spec, command, log, files, life),
    );
    wait.signal.throwIfAborted();
    log.output(done.lines);
    const words = this.#lastLines.filter((line) => line.trim() !== '').join(' | ');
    const last = words === '' ? '' : ` (last output: ${words})`;
    return `${endOf(done)}${last}; it is started again`;
  }

  /** Runs the process, and beside it what reads its pipe. */
  async #live(
    spec: LiveSpec,
    command: RunCommand,
    log: LiveLog,
    files: SlotFiles,
    wait: Wait,
  ): Promise<RunDone> {
    using scope = childController(wait.signal);
    const running = this.deps.spawner.run(this.slot, command, {
      signal: scope.signal,
      onLines: (_from, lines) => {
        log.output(lines);
        const texts = lines.map(([, text]) => text.slice(0, LAST_CHARS));
        this.#lastLines = [...this.#lastLines, ...texts].slice(-LAST_LINES);
      },
    });
    // Awaited here: the signal is unhooked when this function is left.
    if (!spec.spout) return await running;
    const pipe = new SpoutPipe(join(files.pfs, 'out'));
    const reading = this.#read(spec, pipe, running, log, { signal: scope.signal });
    // Whatever ends first ends the other: a process without its pipe is of no use.
    reading.catch((error: unknown) => scope.abort(error));
    const done = await running;
    // What the process wrote before it ended is still in the pipe.
    pipe.close();
    const failed = await reading.then(
      () => undefined,
      (error: unknown) => error,
    );
    wait.signal.throwIfAborted();
    if (failed === undefined) return done;
    if (done.end.why === 'killed') throw failed as Error;
    log.output(done.lines);
    throw invalidInput(`${endOf(done)}; ${messageOf(failed)}`, { cause: failed });
  }

  async #read(
    spec: LiveSpec,
    pipe: SpoutPipe,
    running: Promise<RunDone>,
    log: LiveLog,
    wait: Wait,
  ): Promise<void> {
    const sink = new SpoutSink(
      {
        storage: () => this.#storage(),
        overwrite: spec.spout?.overwrite ?? false,
        marker: spec.spout?.marker ?? '',
        say: (message) => log.say(message),
        commit: (runs) => this.#commit(runs, wait),
      },
      wait,
    );
    const well = running.then(({ end }) => end.why === 'exit' && end.code === 0);
    await pipe.read({
      ...wait,
      sink,
      intact: async () => {
        const alive = this.deps.clock.sleep(EXIT_MS, wait).then(() => true);
        return Promise.race([well, alive]);
      },
    });
  }

  async #commit(
    runs: { data: string; marker: string; epoch: number },
    wait: Wait,
  ): Promise<string> {
    this.#commits += 1;
    const { pipeline, run } = this.duty;
    const worker = this.deps.identity.worker;
    const write = { pipeline, run, worker, number: this.#commits, ...runs };
    const { commit, epoch } = await this.#patiently('commit what the spout wrote', wait, () =>
      this.deps.link.commitSpout(write, wait),
    );
    this.#epoch = epoch;
    this.#reporter.set({ reason: '' });
    return commit;
  }

  async #openPorts({ ports }: LiveSpec): Promise<void> {
    if (!ports) return;
    const { host } = this.deps;
    // With the same port outside and inside, user code itself opens it.
    const own = ports.external === ports.internal;
    if (ports.external !== undefined && !own && !this.#forwarder) {
      this.#forwarder = await Forwarder.open(ports.external, ports.internal, host);
    }
    const external = own ? ports.internal : (this.#forwarder?.port ?? 0);
    this.#reporter.set({ internalPort: ports.internal, externalPort: external });
    await needFreePort(ports.internal, host);
  }

  #storage(): Storage {
    return this.deps.storage(this.#epoch);
  }

  #log(spec: LiveSpec): LiveLog {
    const { clock, budget, queue, identity } = this.deps;
    const base = {
      pipeline: this.duty.pipeline,
      job: spec.job.job,
      // Lines are told apart by it.
      attempt: Number.parseInt(this.duty.run.slice(0, 8), 16),
      worker: identity.worker,
      datum: spec.datum?.id ?? '',
    };
    return new LiveLog(base, {
      clock,
      budget,
      publish: (line, row) => queue.publishLogRow(line, row, ''),
      store: async (bytes, signal) =>
        refToText(await this.#storage().putObject('blob', bytes, { signal })),
      onSegment: (number, ref) => this.#reporter.addLog(number, ref),
    });
  }

  /** The last lines, if that is quickly done. */
  async #goodbye(log: LiveLog): Promise<void> {
    const signal = AbortSignal.timeout(GOODBYE_MS);
    await log
      .flush(signal)
      .then(() => this.#reporter.tell({ signal }))
      .catch(() => undefined);
  }

  /** Tries until it works; says meanwhile why it does not. Throws when the duty is another's. */
  async #patiently<T>(what: string, wait: Wait, work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work();
      } catch (error) {
        wait.signal.throwIfAborted();
        const code = codeOf(error);
        if (code === 'STATE_CONFLICT' || code === 'INVALID_INPUT' || code === 'NOT_FOUND') {
          if (code === 'STATE_CONFLICT') this.#stop.abort(error);
          throw error;
        }
        this.#reporter.set({ reason: `cannot ${what}: ${messageOf(error)}; trying again` });
        await this.deps.clock.sleep(backoffMs(attempt, { maxDelayMs: 5_000 }), wait);
      }
    }
  }
}

/** Nothing that this worker or another could do changes it. */
class Impossible extends Error {
  override readonly name = 'Impossible';
}

function endOf({ end }: RunDone): string {
  switch (end.why) {
    case 'exit':
      return `the process ended with exit status ${end.code}`;
    case 'timeout':
    case 'killed':
      return 'the process was killed';
    case 'broken':
    case 'limit':
    case 'failed':
      return end.message;
  }
}
