/** Requests of pfs.API → inputs of versioning, for calls that also exist as steps of a transaction. */
import { unimplemented } from '../../core/errors.js';
import type {
  CreateBranchRequest,
  CreateRepoRequest,
  FinishCommitRequest,
  StartCommitRequest,
} from '../../proto/generated/pfs.js';
import type {
  CommitRef,
  CreateBranchInput,
  CreateRepoInput,
  FinishOptions,
  StartCommitInput,
} from '../versioning/index.js';
import { branchName, commitRef, fromTrigger, provenanceInputs, repoName } from './pfs-convert.js';

export function createRepoInput({ repo, description, update }: CreateRepoRequest): CreateRepoInput {
  return { name: repoName(repo), description, update };
}

export function createBranchInput(request: CreateBranchRequest): CreateBranchInput {
  const { branch, head, provenance, trigger } = request;
  const name = branchName(branch);
  return {
    ...name,
    ...(head?.id ? { head: { repo: head.repo?.name || name.repo, id: head.id } } : {}),
    provenance: provenance.map((entry) => branchName(entry, 'provenance branch')),
    ...(trigger ? { trigger: fromTrigger(trigger) } : {}),
  };
}

export function startCommitInput(request: StartCommitRequest): StartCommitInput {
  const { parent, branch, description, provenance } = request;
  const { repo, id } = commitRef(parent, 'parent');
  return { repo, parent: id, branch, description, provenance: provenanceInputs(provenance) };
}

export function finishCommitInput(request: FinishCommitRequest): {
  readonly ref: CommitRef;
  readonly options: FinishOptions;
} {
  const { commit, description, empty, tree, trees, datums } = request;
  if (tree || trees.length > 0 || datums) throw noStoredTrees('FinishCommit');
  return { ref: commitRef(commit), options: { description, empty } };
}

export function noStoredTrees(rpc: string): Error {
  return unimplemented(
    `${rpc} with a stored tree is not built yet in this version of Tusk; put the files instead`,
  );
}
