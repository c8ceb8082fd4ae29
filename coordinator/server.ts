/**
 * The gRPC server of a coordinator: every v1 service, our own, standard health and reflection.
 * Opening binds the port and proves that the HTTP/2 windows are wide; closing drains: health goes
 * to NOT_SERVING, new calls are refused, running ones get a grace period and are then aborted.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import type { PackageDefinition } from '@grpc/proto-loader';
import { ServerCredentials, status, type Server, type ServiceDefinition } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';
import type { Clock } from '../core/clock.js';
import { AppError, messageOf } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { assertWindows, createWideServer } from '../proto/server.js';
import type { EpochSource } from '../storage/index.js';
import { registerService, type Handlers } from './rpc/handler.js';

export interface ServiceEntry {
  readonly definition: ServiceDefinition;
  readonly handlers: Handlers<unknown>;
}

export interface GrpcServer extends AsyncDisposable {
  readonly port: number;
  readonly host: string;
}

/** Pairs a generated service with its handlers. */
export function service<S>(definition: ServiceDefinition, handlers: Handlers<S>): ServiceEntry {
  return { definition, handlers: handlers as Handlers<unknown> };
}

const DRAIN_MS = 3_000;

/** Binds `listen` (host:port, 0 = any) and serves. Throws UNAVAILABLE when the port is taken. */
export async function openGrpcServer(
  services: readonly ServiceEntry[],
  deps: { listen: string; log: Log; clock: Clock; epochs?: EpochSource },
): Promise<GrpcServer> {
  const stopping = new AbortController();
  const server = createWideServer();
  const { log, clock, epochs } = deps;
  const rpcDeps = { log, clock, stopped: stopping.signal, ...(epochs ? { epochs } : {}) };
  for (const entry of services) registerService(server, entry.definition, entry.handlers, rpcDeps);
  refuseV2(server);
  const health = new HealthImplementation({ '': 'SERVING' });
  health.addToServer(server);
  new ReflectionService(descriptors()).addToServer(server);

  const port = await bind(server, deps.listen);
  const host = deps.listen.slice(0, deps.listen.lastIndexOf(':'));
  await assertWindows(port, host === '0.0.0.0' || host === '[::]' ? '127.0.0.1' : host);
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    health.setStatus('', 'NOT_SERVING');
    const drained = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
    stopping.abort(
      new AppError('UNAVAILABLE', 'the coordinator is stopping; try again in a moment'),
    );
    const grace = new AbortController();
    await Promise.race([
      drained,
      deps.clock.sleep(DRAIN_MS, { signal: grace.signal }).catch(() => undefined),
    ]);
    grace.abort();
    server.forceShutdown();
  };
  return {
    port,
    host,
    [Symbol.asyncDispose]: () => (closing ??= close()),
  };
}

/** Rpcs that clients of 1.11 and later call when they are set to the storage that never came. */
const V2_METHODS = [
  ...['FileOperationV2', 'GetTarV2', 'DiffFileV2', 'CreateTmpFileSet', 'RenewTmpFileSet'],
  'ClearCommitV2',
];

function refuseV2(server: Server): void {
  const refusal = { code: status.UNIMPLEMENTED, details: 'v2 method not implemented' };
  const bytes = (message: Buffer): Buffer => message;
  for (const name of V2_METHODS) {
    const refuse = (call: { emit(event: 'error', error: object): unknown }): void => {
      call.emit('error', refusal);
    };
    server.register(`/pfs.API/${name}`, refuse as never, bytes, bytes, 'bidi');
  }
}

async function bind(server: Server, listen: string): Promise<number> {
  try {
    return await new Promise<number>((resolve, reject) => {
      server.bindAsync(listen, ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      );
    });
  } catch (error) {
    const taken = messageOf(error).includes('EADDRINUSE');
    const text = taken
      ? `the address ${listen} is taken by another program; stop it or choose another with --port`
      : `cannot listen on ${listen}: ${messageOf(error)}`;
    throw new AppError('UNAVAILABLE', text, { cause: error });
  }
}

/**
 * Descriptors for server reflection, as protoc made them (scripts/gen.mjs): those that proto-loader
 * makes of the same files lack what strict clients such as grpcurl need to resolve types.
 */
function descriptors(): PackageDefinition {
  const dir = join(dirname(fileURLToPath(import.meta.url)), '..', 'proto', 'generated');
  const reader = new BinaryReader(readFileSync(join(dir, 'descriptors.bin')));
  const fileDescriptorProtos: Buffer[] = [];
  while (reader.pos < reader.len) {
    reader.tag(); // A FileDescriptorSet holds nothing but its files.
    fileDescriptorProtos.push(Buffer.from(reader.bytes()));
  }
  // Reflection looks at the files only; they may hang on any definition.
  const format = 'Protocol Buffer 3 EnumDescriptorProto' as const;
  const all = { format, type: {}, fileDescriptorProtos };
  return { all };
}
