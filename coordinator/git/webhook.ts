/** `POST /v1/handle/push`: GitHub (and whoever speaks like it) tells of a push. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { AppError, codeOf, invalidInput, messageOf, notFound } from '../../core/errors.js';
import type { GitInput, PipelineInfo } from '../../proto/generated/pps.js';
import type { Wait } from '../../storage/types.js';
import type { Exchange } from '../../http/http-server.js';
import { endResponse, requestBody, wholeBody } from '../../http/message-body.js';
import type { Meta } from '../meta/index.js';
import { gitInputs } from '../pipelines/inputs.js';
import { PIPELINES, type PipelineRecord } from '../pipelines/model.js';
import { storePush, type Push, type PushDeps } from './pushes.js';

export interface WebhookDeps extends PushDeps {
  readonly meta: Meta;
  /** What the sender signs with; none: anybody may tell of a push. */
  readonly webhookSecret: string | undefined;
  readonly loadSpec: (
    spec: { readonly pipeline: string; readonly specCommit: string },
    wait: Wait,
  ) => Promise<PipelineInfo>;
}

/** The largest payload that GitHub sends. */
const BODY_BYTES_MAX = 25 * 1024 * 1024;

export function webhookApi(deps: WebhookDeps) {
  return {
    handle: (exchange: Exchange) => handle(deps, exchange),
    fail: (exchange: Exchange, error: unknown): void => {
      const code = codeOf(error);
      const status =
        ({ INVALID_INPUT: 400, NOT_FOUND: 404, PERMISSION_DENIED: 403 } as Record<string, number>)[
          code
        ] ?? 500;
      const text = code === 'INTERNAL' ? 'internal error' : messageOf(error);
      exchange.response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
      exchange.response.end(`${text}\n`);
    },
  };
}

async function handle(deps: WebhookDeps, exchange: Exchange): Promise<void> {
  const { request, response, log, signal } = exchange;
  const path = request.url?.split('?')[0];
  if (request.method !== 'POST' || path !== '/v1/handle/push') throw notFound('404 page not found');
  const body = await wholeBody(requestBody(exchange), { bytesMax: BODY_BYTES_MAX });
  checkSignature(deps.webhookSecret, request.headers['x-hub-signature-256'], body);
  const event = request.headers['x-github-event'] ?? 'push';
  let made = 0;
  if (event === 'push') {
    const push = parsePush(body, request.headers['content-type'] ?? '');
    for (const git of await inputsOf(deps, push, { signal })) {
      const commit = await storePush(deps, git, push, { signal });
      if (!commit) continue;
      made += 1;
      log.info({ repo: git.name, commit: commit.id, after: push.after }, 'push received');
    }
  }
  response.writeHead(200, { 'content-type': 'application/json' });
  await endResponse(exchange, `${JSON.stringify({ commits: made })}\n`);
}

function checkSignature(
  secret: string | undefined,
  given: string | string[] | undefined,
  body: Buffer,
): void {
  if (secret === undefined) return;
  const wanted = Buffer.from(`sha256=${createHmac('sha256', secret).update(body).digest('hex')}`);
  const got = Buffer.from(String(given ?? ''));
  if (got.length === wanted.length && timingSafeEqual(got, wanted)) return;
  throw new AppError(
    'PERMISSION_DENIED',
    'the signature of the push does not match: set the same secret in the webhook and in ' +
      "TUSK_WEBHOOK_SECRET of the coordinator's environment",
  );
}

function parsePush(body: Buffer, type: string): Push {
  const text = type.startsWith('application/x-www-form-urlencoded')
    ? (new URLSearchParams(body.toString()).get('payload') ?? '')
    : body.toString();
  let push: Partial<Push> | null;
  try {
    push = JSON.parse(text) as Partial<Push> | null;
  } catch (error) {
    throw invalidInput(`the push is not JSON: ${messageOf(error)}`);
  }
  const url = push?.repository?.clone_url;
  if (typeof push?.ref !== 'string' || typeof push.after !== 'string' || typeof url !== 'string') {
    throw invalidInput('expected a push event with ref, after and repository.clone_url');
  }
  if (!/^[0-9a-f]{40,64}$/.test(push.after)) {
    throw invalidInput(`after "${push.after}" is no commit id`);
  }
  return push as Push;
}

/** Every git input of a pipeline that this push is for, each repo and branch once. */
async function inputsOf(deps: WebhookDeps, push: Push, wait: Wait): Promise<GitInput[]> {
  // The branch was deleted: nothing to read.
  if (/^0+$/.test(push.after)) return [];
  const found = new Map<string, GitInput>();
  for await (const kv of deps.meta.scan(PIPELINES, wait)) {
    const { name, specCommit } = JSON.parse(kv.value.toString()) as PipelineRecord;
    const info = await deps.loadSpec({ pipeline: name, specCommit }, wait);
    for (const git of gitInputs(info.input)) {
      const same = git.url === push.repository.clone_url;
      if (same && push.ref === `refs/heads/${git.branch}`) {
        found.set(`${git.name}@${git.branch}`, git);
      }
    }
  }
  return [...found.values()];
}
