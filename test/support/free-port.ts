/** Ports that nobody listens on. */
import { createServer } from 'node:net';

const given = new Set<number>();

/** A TCP port of loopback that was free a moment ago; never the same one twice in this process. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = await new Promise<number>((resolve, reject) => {
      const server = createServer();
      server.on('error', reject);
      server.listen(0, '127.0.0.1', () => {
        const address = server.address();
        server.close(() =>
          typeof address === 'object' && address
            ? resolve(address.port)
            : reject(new Error('no port')),
        );
      });
    });
    if (!given.has(port)) {
      given.add(port);
      return port;
    }
  }
}
