/**
 * Names and commit references as people and clients write them: what a repo or branch may be
 * called, and the small grammar `branch^2`, `id~`, `master.1`.
 */
import {
  type AppError,
  excerpt,
  invalidInput,
  notFound,
  stateConflict,
} from '../../core/errors.js';
import { containsId } from '../../core/ids.js';
import type { BranchName, CommitName } from './model.js';

/** A commit as a request names it: an id or a branch, perhaps with an ancestry suffix. */
export interface CommitRef {
  readonly repo: string;
  readonly id: string;
}

/** A reference taken apart. */
export interface ParsedRef {
  readonly base: string;
  /** The base is a commit id, not a branch name. */
  readonly isId: boolean;
  /** 0 = the base itself; n > 0 = n-th ancestor. */
  readonly ancestor: number;
  /** n > 0 = n-th commit counted from the root of the base's ancestry, 1-based. */
  readonly fromRoot: number;
}

const NAME = /^[A-Za-z0-9_-]+$/;
/** Names are parts of keys in etcd. */
const NAME_MAX = 16_384;

/** Throws INVALID_INPUT unless the text can name a repo. */
export function checkRepoName(name: string): void {
  if (!NAME.test(name)) throw badName(name);
  if (name.length > NAME_MAX) {
    throw invalidInput(`name (${excerpt(name)}) invalid: longer than ${NAME_MAX} characters`);
  }
}

/** Throws INVALID_INPUT unless the text can name a branch. */
export function checkBranchName(name: string): void {
  checkRepoName(name);
  if (containsId(name)) throw invalidInput('branch name cannot be a UUID V4');
}

function badName(name: string): AppError {
  return invalidInput(
    `name (${excerpt(name)}) invalid: only alphanumeric characters, underscores, and dashes are allowed`,
  );
}

/**
 * Takes a reference apart. `^` and `~` mean the same: repeated, they count; followed by a number,
 * that many parents. `.N` counts from the root. Throws INVALID_INPUT on any other suffix.
 */
export function parseRef(text: string): ParsedRef {
  const at = text.search(/[\^~.]/);
  const base = at < 0 ? text : text.slice(0, at);
  const suffix = at < 0 ? '' : text.slice(at);
  return { base, isId: containsId(base), ...parseSuffix(text, suffix) };
}

function parseSuffix(text: string, suffix: string): { ancestor: number; fromRoot: number } {
  if (suffix === '') return { ancestor: 0, fromRoot: 0 };
  const repeated = /^[\^~]+$/.test(suffix);
  if (repeated) {
    if (suffix.includes('^') && suffix.includes('~')) {
      throw invalidInput(`invalid ancestry syntax "${text}", cannot mix ^ and ~ characters`);
    }
    return { ancestor: suffix.length, fromRoot: 0 };
  }
  const counted = /^([\^~.])(-?)(\d{1,9})$/.exec(suffix);
  if (!counted) throw invalidInput(`invalid ancestry syntax "${text}"`);
  const count = Number(counted[3]);
  const dot = counted[1] === '.';
  const fromRoot = dot !== (counted[2] === '-');
  return fromRoot ? { ancestor: 0, fromRoot: count } : { ancestor: count, fromRoot: 0 };
}

export function repoNotFound(repo: string): AppError {
  return notFound(`/pachyderm_pfs/repos/ ${repo} not found`, { fields: { repo } });
}

export function branchNotFound(b: BranchName): AppError {
  return notFound(`/pachyderm_pfs/branches/${b.repo}/ ${b.name} not found`, { fields: { ...b } });
}

/** `ref` is what the user wrote, suffix included. */
export function commitNotFound(repo: string, ref: string): AppError {
  return notFound(`commit ${ref} not found in repo ${repo}`, { fields: { repo, commit: ref } });
}

export function noHead(b: BranchName): AppError {
  return notFound(`the branch "${b.name}" has no head (create one with 'start commit')`, {
    fields: { ...b },
  });
}

export function commitDeleted(c: CommitName): AppError {
  return notFound(`commit ${c.repo}/${c.id} was deleted`, { fields: { ...c } });
}

export function alreadyFinished(c: CommitName): AppError {
  return stateConflict(`commit ${c.id} in repo ${c.repo} has already finished`, {
    fields: { ...c },
  });
}

export function repoDeleted(repo: string): AppError {
  return stateConflict(`repo ${repo} was deleted`, { fields: { repo } });
}
