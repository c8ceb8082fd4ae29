/** `GET /metrics` of a worker. */
import type { Clock } from '../core/clock.js';
import { codeOf, messageOf, notFound } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { openHttpServer, type HttpServer } from '../http/http-server.js';
import type { DatumMetrics } from './metrics.js';

/** Listens at `listen` (host:port). UNAVAILABLE when the port is taken. */
export function serveMetrics(
  metrics: DatumMetrics,
  { listen, clock, log }: { readonly listen: string; readonly clock: Clock; readonly log: Log },
): Promise<HttpServer> {
  return openHttpServer({
    name: 'metrics',
    listen,
    giveWay: false,
    clock,
    log,
    handle: ({ request, response }) => {
      const path = request.url?.split('?')[0];
      if (path !== '/metrics') throw notFound('nothing is here: metrics are at /metrics');
      response.setHeader('content-type', 'text/plain; version=0.0.4; charset=utf-8');
      response.end(metrics.text());
      return Promise.resolve();
    },
    fail: ({ response }, error) => {
      response.statusCode = codeOf(error) === 'NOT_FOUND' ? 404 : 500;
      response.end(`${messageOf(error)}\n`);
    },
  });
}
