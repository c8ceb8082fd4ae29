/**
 * The HTTP API of old clients and browsers: files by commit and path, and the login cookie.
 * Anything else is 404.
 */
import { codeOf, invalidInput, messageOf, notFound, type ErrorCode } from '../../core/errors.js';
import { canonicalPath } from '../../storage/glob.js';
import type { FileContent } from '../../storage/types.js';
import { unreadable } from '../../storage/unreadable.js';
import { inspectFile } from '../versioning/files/read-files.js';
import { contentTypeOf } from '../../http/content-type.js';
import type { Exchange } from '../../http/http-server.js';
import { endResponse, requestBody, wholeBody } from '../../http/message-body.js';
import { BadGateway, proxyToService } from './service-proxy.js';
import { planAnswer, sendFile, type FileAnswer } from '../../http/send-file.js';
import type { GatewayDeps } from './s3/bucket.js';

const FORM_BYTES_MAX = 64 * 1024;
const FILE = /^\/v1\/pfs\/repos\/([^/]+)\/commits\/([^/]+)\/files\/(.*)$/s;
const SERVICE = /^\/v1\/pps\/services\/([^/?]+)((?:[/?].*)?)$/s;

const STATUS: Readonly<Record<ErrorCode, number>> = {
  INVALID_INPUT: 400,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  STATE_CONFLICT: 409,
  CONTENTION: 409,
  OVERLOADED: 429,
  UNAVAILABLE: 503,
  UNIMPLEMENTED: 501,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  CANCELLED: 499,
  DEADLINE: 504,
  CORRUPT_DATA: 500,
  NO_SPACE: 507,
  INTERNAL: 500,
};

export interface HttpApi {
  handle(exchange: Exchange): Promise<void>;
  fail(exchange: Exchange, error: unknown): void;
}

export function httpApi(deps: GatewayDeps): HttpApi {
  return {
    handle: (exchange) => route(deps, exchange),
    fail: (exchange, error) => {
      const code = codeOf(error);
      const text =
        code === 'INTERNAL'
          ? `internal error; the coordinator's log has it under request ${exchange.requestId}`
          : messageOf(error);
      sendText(exchange, error instanceof BadGateway ? error.status : STATUS[code], text);
    },
  };
}

async function route(deps: GatewayDeps, exchange: Exchange): Promise<void> {
  const { method = 'GET', url = '/' } = exchange.request;
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  const file = FILE.exec(path);
  if (file && (method === 'GET' || method === 'HEAD')) {
    const [repo = '', commit = '', name = ''] = file.slice(1).map(decode);
    const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
    const download = query.get('download') === 'true';
    await serveFile(deps, exchange, { repo, commit, path: name, download });
    return;
  }
  const service = SERVICE.exec(url);
  if (service) {
    const [name = '', rest = ''] = service.slice(1);
    const target = { pipeline: decode(name), path: rest.startsWith('/') ? rest : `/${rest}` };
    await proxyToService(deps, exchange, target);
    return;
  }
  if (method === 'POST' && path === '/v1/auth/login') return login(exchange);
  if (method === 'POST' && path === '/v1/auth/logout') return logout(exchange);
  throw notFound('404 page not found');
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalidInput(`not a percent-encoded path: ${text.slice(0, 256)}`);
  }
}

async function serveFile(
  deps: GatewayDeps,
  exchange: Exchange,
  at: {
    readonly repo: string;
    readonly commit: string;
    readonly path: string;
    readonly download: boolean;
  },
): Promise<void> {
  const ref = { commit: { repo: at.repo, id: at.commit }, path: canonicalPath(`/${at.path}`) };
  const { commit, node } = await inspectFile(deps, ref, exchange);
  if (node.type !== 'file') {
    throw notFound(`file ${ref.path} not found in repo ${commit.repo} at commit ${commit.id}`);
  }
  const content: FileContent = node;
  const name = ref.path.slice(ref.path.lastIndexOf('/') + 1);
  const type = contentTypeOf(name);
  const answer: FileAnswer = {
    content,
    etag: `"${node.hash.toString('hex')}"`,
    modifiedMs: commit.finished,
    headers: {
      'content-type': type,
      // A page in the data must not act as one of ours.
      'x-content-type-options': 'nosniff',
      ...(/html|svg|xml/.test(type) ? { 'content-security-policy': 'sandbox' } : {}),
      ...(at.download ? { 'content-disposition': disposition(name) } : {}),
    },
  };
  const plan = planAnswer(exchange, answer);
  if (plan.kind === 'precondition-failed') {
    sendText(exchange, 412, 'a condition of the request does not hold');
  } else if (plan.kind === 'range-not-satisfiable') {
    const header = { 'content-range': `bytes */${content.size}` };
    sendText(exchange, 416, 'the range is not in the file', header);
  } else {
    const place = { repo: commit.repo, commit: commit.id, path: ref.path };
    await sendFile(deps.storage, exchange, answer, plan).catch((error: unknown) => {
      throw unreadable(error, place);
    });
  }
}

/** `filename` in plain ASCII, and the true name beside it where it differs. */
function disposition(name: string): string {
  const plain = name.replace(/[^\x20-\x7e]|["\\]/g, '_');
  const exact = plain === name ? '' : `; filename*=UTF-8''${encodeURIComponent(name)}`;
  return `attachment; filename="${plain}"${exact}`;
}

async function login(exchange: Exchange): Promise<void> {
  const body = await wholeBody(requestBody(exchange), { bytesMax: FORM_BYTES_MAX });
  const token = new URLSearchParams(body.toString('utf8')).get('Token') ?? '';
  if (token === '') throw invalidInput('empty token provided');
  if (!/^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+$/.test(token)) {
    throw invalidInput('the token has characters that a cookie can not hold');
  }
  await sendCookie(exchange, `authn-token=${token}; path=/`);
}

async function logout(exchange: Exchange): Promise<void> {
  await sendCookie(exchange, 'authn-token=; path=/; max-age=0');
}

async function sendCookie(exchange: Exchange, cookie: string): Promise<void> {
  exchange.response.writeHead(200, {
    'set-cookie': cookie,
    'access-control-allow-origin': '*',
    'content-length': 0,
  });
  await endResponse(exchange);
}

function sendText(
  { request, response }: Exchange,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  const bytes = Buffer.from(`${text}\n`);
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'x-content-type-options': 'nosniff',
    'content-length': bytes.length,
    ...headers,
  });
  response.end(request.method === 'HEAD' ? undefined : bytes);
}
