/**
 * How an rpc is written here: a plain async function of (request, context). This module turns such
 * functions into grpc-js handlers: one signal for cancel and deadline, one log line per failure, one
 * error mapping, the stream rules of proto/streams.ts. A method without a function answers
 * UNIMPLEMENTED with a text that says so.
 */
import type {
  handleBidiStreamingCall,
  handleUnaryCall,
  Metadata,
  MethodDefinition,
  sendUnaryData,
  Server,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
} from '@grpc/grpc-js';
import type { Clock } from '../../core/clock.js';
import { cancelled, codeOf, unimplemented } from '../../core/errors.js';
import { newUuid } from '../../core/ids.js';
import type { Log } from '../../core/log.js';
import { joinedController } from '../../core/signals.js';
import type { EpochSource, Hold } from '../../storage/index.js';
import { toStatus } from '../../proto/status.js';
import { discardRest, receiveStream, sendStream } from '../../proto/streams.js';

/** What a handler knows about its call. */
export interface RpcContext {
  /** Aborts when the client cancels, its deadline passes, or the server shuts down. */
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly requestId: string;
  readonly metadata: Metadata;
  /** `host:port` that the call comes from. */
  readonly peer: string;
}

export type UnaryHandler<Q, S> = (request: Q, ctx: RpcContext) => Promise<S>;
export type ServerStreamHandler<Q, S> = (request: Q, ctx: RpcContext) => AsyncIterable<S>;
export type ClientStreamHandler<Q, S> = (requests: AsyncIterable<Q>, ctx: RpcContext) => Promise<S>;
export type BidiHandler<Q, S> = (requests: AsyncIterable<Q>, ctx: RpcContext) => AsyncIterable<S>;

/** The handler type for one method of a generated `…Server` interface. */
export type HandlerFor<M> = M extends (
  call: ServerUnaryCall<infer Q, infer S>,
  callback: sendUnaryData<infer _R>,
) => void
  ? UnaryHandler<Q, S>
  : M extends (
        call: ServerReadableStream<infer Q, infer S>,
        callback: sendUnaryData<infer _R>,
      ) => void
    ? ClientStreamHandler<Q, S>
    : M extends (call: ServerWritableStream<infer Q, infer S>) => void
      ? ServerStreamHandler<Q, S>
      : M extends (call: ServerDuplexStream<infer Q, infer S>) => void
        ? BidiHandler<Q, S>
        : never;

/** All handlers of a generated `…Server` interface; those left out answer UNIMPLEMENTED. */
export type Handlers<S> = {
  readonly [K in keyof S as string extends K ? never : K]?: HandlerFor<S[K]>;
};

export interface RpcDeps {
  readonly log: Log;
  readonly clock: Clock;
  /** Aborts when the server stops. */
  readonly stopped: AbortSignal;
  /** What calls write and refer to is held while they run; absent: there is no collector. */
  readonly epochs?: EpochSource;
}

/**
 * Calls that may go on for days and write nothing: they keep no old objects. Other streams keep what
 * they write, calls with one request and one answer also what they read and may refer to.
 */
const FOLLOWERS = new Set([
  '/pfs.API/InspectCommit',
  '/pfs.API/FlushCommit',
  '/pfs.API/SubscribeCommit',
  '/pps.API/InspectJob',
  '/pps.API/FlushJob',
  '/pps.API/GetLogs',
  '/pps.API/GarbageCollect',
  '/tusk.Cluster/Join',
  '/tusk.Cluster/Status',
  '/tusk.Storage/Collect',
  '/debug.Debug/Profile',
  '/debug.Debug/Binary',
  '/debug.Debug/Dump',
]);

function holdOf(method: MethodDefinition<unknown, unknown>, { epochs }: RpcDeps): Hold | undefined {
  if (!epochs || FOLLOWERS.has(method.path)) return undefined;
  return epochs.hold(method.requestStream || method.responseStream ? 'writes' : 'refs');
}

type AnyHandler = (input: never, ctx: RpcContext) => unknown;
type AnyCall = ServerUnaryCall<unknown, unknown> &
  ServerReadableStream<unknown, unknown> &
  ServerWritableStream<unknown, unknown>;

/** Adds a service to the server with the handlers given. */
export function registerService<S>(
  server: Server,
  definition: ServiceDefinition,
  handlers: Handlers<S>,
  deps: RpcDeps,
): void {
  const implementation: Record<string, handleUnaryCall<unknown, unknown>> = {};
  for (const [name, method] of Object.entries(definition)) {
    const handler = (handlers as Record<string, AnyHandler | undefined>)[name];
    implementation[name] = adapt(method, handler ?? missing(method), deps) as handleUnaryCall<
      unknown,
      unknown
    >;
  }
  server.addService(definition, implementation);
}

function missing(method: MethodDefinition<unknown, unknown>): AnyHandler {
  const fail = (): never => {
    throw unimplemented(`${method.path} is not built yet in this version of Tusk`);
  };
  if (!method.responseStream) return async () => fail();
  return async function* () {
    fail();
  };
}

function adapt(
  method: MethodDefinition<unknown, unknown>,
  handler: AnyHandler,
  deps: RpcDeps,
): handleUnaryCall<unknown, unknown> | handleBidiStreamingCall<unknown, unknown> {
  return (call: unknown, callback?: sendUnaryData<unknown>) => {
    void serve(method, handler, deps, call as AnyCall, callback);
  };
}

async function serve(
  method: MethodDefinition<unknown, unknown>,
  handler: AnyHandler,
  deps: RpcDeps,
  call: AnyCall,
  callback: sendUnaryData<unknown> | undefined,
): Promise<void> {
  const requestId = newUuid();
  const log = deps.log.child({ request: requestId, rpc: method.path });
  const gone = new AbortController();
  call.on('cancelled', () => gone.abort(cancelled('cancelled by the client')));
  const hold = holdOf(method, deps);
  using scope = joinedController([gone.signal, deps.stopped, ...(hold ? [hold.signal] : [])]);
  const { signal } = scope;
  const { metadata } = call;
  const ctx: RpcContext = { signal, log, requestId, metadata, peer: call.getPeer() };
  const startMs = deps.clock.monotonicMs();
  try {
    const input = method.requestStream
      ? receiveStream(call, { signal, isEnd: isEndMarker })
      : call.request;
    if (method.responseStream) {
      await sendStream(call, handler(input as never, ctx) as AsyncIterable<unknown>, { signal });
    } else {
      callback?.(null, await (handler(input as never, ctx) as Promise<unknown>));
    }
    log.debug({ durationMs: Math.round(deps.clock.monotonicMs() - startMs) }, 'rpc done');
  } catch (error) {
    logFailure(log, error, deps.clock.monotonicMs() - startMs);
    if (method.requestStream && !gone.signal.aborted) await discardRest(call);
    const status = toStatus(error, requestId);
    if (callback) callback(status, null);
    else call.emit('error', status);
  } finally {
    hold?.[Symbol.dispose]();
  }
}

function isEndMarker(message: unknown): boolean {
  return (message as { end?: boolean }).end === true;
}

/** Answers to the caller are not our failures: only bugs and weather are logged loudly. */
function logFailure(log: Log, error: unknown, durationMs: number): void {
  const errorCode = codeOf(error);
  const fields = { errorCode, durationMs: Math.round(durationMs), err: error };
  if (errorCode === 'INTERNAL' || errorCode === 'CORRUPT_DATA') log.error(fields, 'rpc failed');
  else if (errorCode === 'UNAVAILABLE' || errorCode === 'NO_SPACE') log.warn(fields, 'rpc failed');
  else log.debug(fields, 'rpc answered with an error');
}
