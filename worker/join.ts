/**
 * The worker's Join stream to a coordinator: hello, heartbeats, assignments. Tries the given
 * addresses in turn, for ever, with backoff that is forgotten only after a while of being joined.
 */
import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { Clock } from '../core/clock.js';
import { messageOf } from '../core/errors.js';
import { backoffMs } from '../core/retry.js';
import { addAbortListener } from '../core/signals.js';
import { CLIENT_OPTIONS, insecure } from '../proto/channel.js';
import {
  ClusterClient,
  type JoinEvent,
  type JoinRequest,
  type WorkerAssignments,
  type WorkerConfig,
  type WorkerHeartbeat,
  type WorkerHello,
} from '../proto/generated/tusk.js';

export interface JoinOptions {
  /** `host:port` of coordinators. */
  readonly addresses: readonly string[];
  readonly hello: WorkerHello;
  readonly clock: Clock;
  /** The current state for the next heartbeat; undefined = this worker is stuck, send none. */
  readonly heartbeat: () => WorkerHeartbeat | undefined;
  readonly onConfig: (config: WorkerConfig) => void;
  readonly onAssignments: (assignments: WorkerAssignments) => void;
  /** Joined, or why not (any more). */
  readonly onState: (state: { joined: boolean; address: string; reason: string }) => void;
}

type Stream = ClientDuplexStream<JoinRequest, JoinEvent>;

/** A coordinator that can not be reached is noticed before others take this worker's duties over. */
const OPTIONS = {
  ...CLIENT_OPTIONS,
  'grpc.keepalive_time_ms': 5_000,
  'grpc.keepalive_timeout_ms': 5_000,
};
const LEASE_MS_DEFAULT = 10_000;
const HEALTHY_MS = 10_000;
const BACKOFF = { baseDelayMs: 200, maxDelayMs: 3_000 };

export class JoinClient {
  #draining = false;
  #stream: Stream | undefined;

  constructor(readonly options: JoinOptions) {}

  /** Stays joined until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { addresses, clock } = this.options;
    for (let attempt = 1, turn = 0; !signal.aborted; turn += 1) {
      const address = addresses[turn % addresses.length] ?? '';
      const start = clock.monotonicMs();
      const reason = await this.#session(address, signal);
      if (signal.aborted) return;
      this.options.onState({ joined: false, address, reason });
      attempt = clock.monotonicMs() - start > HEALTHY_MS ? 1 : attempt + 1;
      await clock.sleep(backoffMs(attempt, BACKOFF), { signal }).catch(() => undefined);
    }
  }

  /** Tells the cluster that no new tasks are wanted. */
  drain(): void {
    this.#draining = true;
    this.#stream?.write({ draining: true });
  }

  /** One connection, until it breaks; answers why. */
  async #session(address: string, signal: AbortSignal): Promise<string> {
    const client = new ClusterClient(address, insecure(), OPTIONS);
    const over = new AbortController();
    try {
      const stream = client.join();
      this.#stream = stream;
      const ended = this.#listen(stream, address);
      const stop = addAbortListener(signal, () => stream.cancel());
      stream.write({ hello: this.options.hello });
      if (this.#draining) stream.write({ draining: true });
      void this.#beat(stream, over.signal);
      const reason = await ended;
      stop();
      return reason;
    } catch (error) {
      return messageOf(error);
    } finally {
      this.#stream = undefined;
      over.abort();
      client.close();
    }
  }

  #leaseMs = LEASE_MS_DEFAULT;

  #listen(stream: Stream, address: string): Promise<string> {
    const { onConfig, onAssignments, onState } = this.options;
    return new Promise((resolve) => {
      stream.on('data', (event: JoinEvent) => {
        if (event.config) {
          this.#leaseMs = event.config.leaseMs || LEASE_MS_DEFAULT;
          onConfig(asSeenFrom(event.config, address));
          onState({ joined: true, address, reason: '' });
        }
        if (event.assignments) onAssignments(event.assignments);
      });
      stream.on('error', (error) => resolve(messageOf(error)));
      stream.on('end', () => resolve('the coordinator ended the connection'));
    });
  }

  async #beat(stream: Stream, signal: AbortSignal): Promise<void> {
    try {
      for (;;) {
        await this.options.clock.sleep(this.#leaseMs / 3, { signal });
        const heartbeat = this.options.heartbeat();
        if (heartbeat) stream.write({ heartbeat });
      }
    } catch {
      // The session is over.
    }
  }
}

/**
 * A coordinator that listens on every address can not know which of them its workers reach: it
 * says 0.0.0.0, which stands for the host that was joined.
 */
export function asSeenFrom(config: WorkerConfig, address: string): WorkerConfig {
  const host = address.slice(0, address.lastIndexOf(':'));
  return { ...config, natsUrl: config.natsUrl.replace('//0.0.0.0:', `//${host}:`) };
}
