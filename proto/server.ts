/**
 * A grpc-js server whose HTTP/2 windows are really raised. grpc-js (1.14) ignores the window option
 * on servers, so this subclass sets it in the fields the library hands to node:http2. It leans on
 * private names; `assertWindows` proves at start-up that the result is right, so that an upgrade
 * which changes them fails loudly instead of making every distant upload slow.
 */
import { connect, type Http2Server } from 'node:http2';
import { Server, type ServerCredentials, type ServerOptions } from '@grpc/grpc-js';
import { invariant } from '../core/errors.js';
import { MESSAGE_BYTES_MAX, WINDOW_BYTES } from './channel.js';

interface Internals {
  commonServerOptions: { settings?: Record<string, unknown> };
  createHttp2Server(credentials: ServerCredentials): Http2Server;
}

export const SERVER_OPTIONS: ServerOptions = {
  'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
  'grpc.max_send_message_length': MESSAGE_BYTES_MAX,
};

/** Creates a server with wide windows; nothing listens yet. */
export function createWideServer(): Server {
  const server = new Server(SERVER_OPTIONS);
  const internals = server as unknown as Internals;
  invariant(
    typeof internals.commonServerOptions === 'object' &&
      typeof internals.createHttp2Server === 'function',
    'grpc-js has changed inside: the HTTP/2 window fix in proto/server.ts must be redone',
  );
  const options = internals.commonServerOptions;
  options.settings = { ...options.settings, initialWindowSize: WINDOW_BYTES };
  const create = internals.createHttp2Server.bind(server);
  internals.createHttp2Server = (credentials) => {
    const http2 = create(credentials);
    http2.on('session', (session) => session.setLocalWindowSize(WINDOW_BYTES));
    return http2;
  };
  return server;
}

/** Connects to our own port and checks the windows it advertises. Throws InvariantError if small. */
export async function assertWindows(port: number, host = '127.0.0.1'): Promise<void> {
  const session = connect(`http://${host}:${port}`);
  try {
    await new Promise<void>((resolve, reject) => {
      session.once('error', reject);
      session.once('remoteSettings', () => session.ping(() => resolve()));
    });
    const stream = session.remoteSettings.initialWindowSize ?? 0;
    const connection = session.state.remoteWindowSize ?? 0;
    invariant(
      stream >= WINDOW_BYTES && connection >= WINDOW_BYTES,
      'the gRPC server advertises small HTTP/2 windows: see proto/server.ts',
      { stream, connection, wanted: WINDOW_BYTES },
    );
  } finally {
    session.close();
  }
}
