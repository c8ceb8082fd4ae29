/** What each request that a transaction can hold does as a step of one etcd transaction. */
import { invalidInput } from '../../core/errors.js';
import type { TransactionRequest } from '../../proto/generated/transaction.js';
import type { Wait } from '../../storage/types.js';
import type { MetaTxn } from '../meta/index.js';
import type { Pipelines } from '../pipelines/index.js';
import { deleteAllTransactionsIn, type RunRequest } from '../transactions/index.js';
import type { CommitName, Versioning } from '../versioning/index.js';
import { branchName, commitRef, repoName } from './pfs-convert.js';
import {
  createBranchInput,
  createRepoInput,
  finishCommitInput,
  startCommitInput,
} from './pfs-inputs.js';

export interface StepDeps {
  readonly versioning: Versioning;
  readonly pipelines: Pipelines;
}

interface Surroundings {
  readonly t: MetaTxn;
  /** The commit that the request started when it was recorded. */
  readonly commit: CommitName | undefined;
  readonly wait: Wait;
}

type Step<Q> = (request: Q, around: Surroundings) => Promise<CommitName | void>;
type Steps = {
  readonly [K in keyof TransactionRequest]-?: Step<NonNullable<TransactionRequest[K]>>;
};

/** A runner for recorded requests; throws INVALID_INPUT for one that is of no known type. */
export function requestRunner(deps: StepDeps): RunRequest {
  const steps = stepsOf(deps);
  return async (t, { request, commit }, wait) => {
    for (const name of Object.keys(steps) as (keyof Steps)[]) {
      const body = request[name];
      if (body === undefined) continue;
      const step = steps[name] as Step<unknown>;
      return (await step(body, { t, commit, wait })) ?? undefined;
    }
    throw invalidInput('unrecognized transaction request type');
  };
}

function stepsOf({ versioning, pipelines }: StepDeps): Steps {
  return {
    createRepo: async (request, { t }) => {
      await versioning.createRepoIn(t, createRepoInput(request));
    },
    deleteRepo: async ({ repo, force, all }, { t }) => {
      if (all) await versioning.deleteAllReposIn(t);
      else await versioning.deleteRepoIn(t, repoName(repo), { force });
    },
    startCommit: async (request, { t, commit }) => {
      const id = commit ? { id: commit.id } : {};
      const made = await versioning.startCommitIn(t, { ...startCommitInput(request), ...id });
      return { repo: made.repo, id: made.id };
    },
    finishCommit: async (request, { t, wait }) => {
      const { ref, options } = finishCommitInput(request);
      await versioning.finishRefIn(t, ref, { ...options, ...wait });
    },
    deleteCommit: async ({ commit }, { t }) => {
      await versioning.deleteCommitIn(t, commitRef(commit));
    },
    createBranch: async (request, { t }) => {
      await versioning.createBranchIn(t, createBranchInput(request));
    },
    deleteBranch: async ({ branch, force }, { t }) => {
      await versioning.deleteBranchIn(t, branchName(branch), { force });
    },
    deleteAll: async (_request, { t }) => deleteAllTransactionsIn(t),
    updateJobState: async (request, { t }) => {
      await pipelines.updateJobStateIn(t, request);
    },
    createPipeline: async (request, { t, wait }) => {
      await pipelines.createIn(t, request, wait);
    },
  };
}
