/** What the rest of the coordinator may use of versioning. */
export { openVersioning, Versioning, type VersioningDeps } from './versioning.js';
export type { CommitContent, ProvenanceInput, StartCommitInput } from './commits.js';
export type { CreateBranchInput } from './branches.js';
export type { CreateRepoInput } from './repos.js';
export type { Finding } from './fsck.js';
export type { CommitStateName, SubscribeInput } from './follow.js';
export type { CommitDetails, RepoDetails } from './info.js';
export type { ListCommitsInput } from './list-commits.js';
export type { FinishOptions, WriteTarget } from './write.js';
export type { CommitRange } from './subvenance.js';
export type { Resolved } from './records.js';
export type { CommitRef } from './refs.js';
export type { Scope } from './scope.js';
export {
  branchNotFound,
  checkBranchName,
  checkRepoName,
  commitNotFound,
  repoNotFound,
} from './refs.js';
export { checkReadable } from './open-commits.js';
export * from './model.js';
