/**
 * The small v1 services: version, health, enterprise, admin, auth. They answer what old clients
 * need to hear to go on: a 1.13 server without a licence and with auth switched off.
 */
import type { Empty } from '../../proto/generated/google/protobuf/empty.js';
import type { APIServer as AdminServer } from '../../proto/generated/admin.js';
import {
  APIService as AuthService,
  type APIServer as AuthServer,
} from '../../proto/generated/auth.js';
import { State, type APIServer as EnterpriseServer } from '../../proto/generated/enterprise.js';
import type { HealthServer } from '../../proto/generated/health.js';
import type { APIServer as VersionServer } from '../../proto/generated/versionpb.js';
import { unimplemented } from '../../core/errors.js';
import { requestOf, type Pipelines } from '../pipelines/index.js';
import type { Handlers } from './handler.js';

/** The API version clients compare with their own; they only warn about other minors. */
export const API_VERSION = { major: 1, minor: 13, micro: 4, additional: '' } as const;

const EMPTY: Empty = {};

export const versionHandlers: Handlers<VersionServer> = {
  getVersion: async () => ({ ...API_VERSION }),
};

export const healthHandlers: Handlers<HealthServer> = {
  health: async () => EMPTY,
};

export const enterpriseHandlers: Handlers<EnterpriseServer> = {
  getState: async () => ({ state: State.NONE, info: undefined, activationCode: '' }),
};

export interface AdminDeps {
  readonly clusterId: string;
  readonly pipelines: Pick<Pipelines, 'inspect'>;
}

export function adminHandlers({ clusterId, pipelines }: AdminDeps): Handlers<AdminServer> {
  return {
    inspectCluster: async () => ({ id: clusterId, deploymentId: clusterId }),
    extractPipeline: async ({ pipeline }, ctx) => {
      const op = { pipeline: requestOf(await pipelines.inspect(pipeline?.name ?? '', ctx)) };
      return { op19: op, op110: op, op111: op, op112: op, op113: op };
    },
  };
}

/** Old clients look for exactly this text, with the status UNIMPLEMENTED. */
const AUTH_OFF = 'the auth service is not activated';

/** Every rpc of the auth service says that it is off. */
export const authHandlers: Handlers<AuthServer> = Object.fromEntries(
  Object.keys(AuthService).map((name) => [
    name,
    async () => {
      throw unimplemented(AUTH_OFF);
    },
  ]),
);
