/** The doors beside gRPC: S3 for buckets, HTTP for files, webhooks of git servers. Each is open where config says so. */
import type { Clock } from '../../core/clock.js';
import type { Log } from '../../core/log.js';
import { ResourceStack } from '../../core/resource-stack.js';
import { httpApi } from './http-api.js';
import { openHttpServer } from '../../http/http-server.js';
import type { GatewayDeps } from './s3/bucket.js';
import { s3Api } from './s3/s3-api.js';

export interface GatewayConfig {
  /** host:port; undefined = closed. */
  readonly s3Listen: string | undefined;
  readonly httpListen: string | undefined;
  readonly webhookListen: string | undefined;
  /** Which of them may take any free port when theirs is taken. */
  readonly giveWay: readonly string[];
}

export interface Gateways extends AsyncDisposable {
  readonly s3Port: number | undefined;
  readonly httpPort: number | undefined;
  readonly webhookPort: number | undefined;
}

type Api = Pick<Parameters<typeof openHttpServer>[0], 'handle' | 'fail'>;

/** Opens the servers that are configured. UNAVAILABLE when a port is taken. */
export async function openGateways(
  deps: GatewayDeps & { readonly clock: Clock; readonly log: Log; readonly webhook: Api },
  config: GatewayConfig,
): Promise<Gateways> {
  const stack = new ResourceStack();
  const { clock, log } = deps;
  const { epochs } = deps.storage;
  const open = async (
    name: string,
    setting: 's3Listen' | 'httpListen' | 'webhookListen',
    api: Api,
  ): Promise<number | undefined> => {
    const listen = config[setting];
    if (listen === undefined) return undefined;
    const giveWay = config.giveWay.includes(setting);
    const server = await openHttpServer({ name, listen, giveWay, log, clock, epochs, ...api });
    log.info({ port: server.port }, `${name} serves`);
    return stack.use(server).port;
  };
  try {
    const s3Port = await open('S3 gateway', 's3Listen', s3Api(deps));
    const httpPort = await open('HTTP API', 'httpListen', httpApi(deps));
    const webhookPort = await open('git webhook', 'webhookListen', deps.webhook);
    return {
      s3Port,
      httpPort,
      webhookPort,
      [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
    };
  } catch (error) {
    await stack[Symbol.asyncDispose]();
    throw error;
  }
}
