/** References on the command line: `repo`, `repo@branch-or-commit`, `repo@commit:path`. */
import { invalidInput } from '../../core/errors.js';

export interface CommitRef {
  readonly repo: string;
  /** Branch or commit with its ancestry suffix; empty when only a repo was given. */
  readonly id: string;
}

export interface FileRef extends CommitRef {
  /** As typed; empty when absent. */
  readonly path: string;
}

/** `repo[@X]`, split at the first `@`. */
export function parseCommitRef(text: string): CommitRef {
  const at = text.indexOf('@');
  const repo = at < 0 ? text : text.slice(0, at);
  if (repo === '') throw invalidInput(`invalid format "${text}": repo cannot be empty`);
  return { repo, id: at < 0 ? '' : text.slice(at + 1) };
}

/** `repo@branch`; the branch must be there. */
export function parseBranchRef(text: string): CommitRef {
  const ref = parseCommitRef(text);
  if (ref.id === '') {
    throw invalidInput(`invalid format "${text}": branch cannot be empty (expected repo@branch)`);
  }
  return ref;
}

/** `repo[@X[:path]]`, split at the first `@`, then at the first `:` of the rest. */
export function parseFileRef(text: string): FileRef {
  const ref = parseCommitRef(text);
  if (!text.includes('@')) return { ...ref, path: '' };
  const colon = ref.id.indexOf(':');
  const id = colon < 0 ? ref.id : ref.id.slice(0, colon);
  if (id === '') throw invalidInput(`invalid format "${text}": commit cannot be empty`);
  return { repo: ref.repo, id, path: colon < 0 ? '' : ref.id.slice(colon + 1) };
}

/** The old slash form `repo/commit`; the new form passes unchanged. */
export function fromSlashForm(text: string): string {
  return text.includes('@') ? text : text.replace('/', '@');
}

/** `pipeline^2`, `pipeline.1`: sent as typed, the server walks the spec history. */
export function parsePipelineRef(text: string): string {
  if (text === '') throw invalidInput('pipeline name cannot be empty');
  return text;
}

/** `repo@branch=commit`: a branch means its head; a bare id means that commit on its own branch. */
export function parseProvenanceRef(text: string): {
  repo: string;
  branch: string;
  commit: string;
} {
  const ref = parseCommitRef(text);
  if (ref.id === '') {
    throw invalidInput(
      `invalid format "${text}": expected repo@branch, repo@commit or both as repo@branch=commit`,
    );
  }
  const equals = ref.id.indexOf('=');
  if (equals >= 0) {
    return { repo: ref.repo, branch: ref.id.slice(0, equals), commit: ref.id.slice(equals + 1) };
  }
  return /^[0-9a-f]{32}$/.test(ref.id)
    ? { repo: ref.repo, branch: '', commit: ref.id }
    : { repo: ref.repo, branch: ref.id, commit: '' };
}

/** `none` or 0 → 0, n → n, `all` or -1 → -1. */
export function parseHistory(text: string): number {
  if (text === '' || text === 'none') return 0;
  if (text === 'all') return -1;
  if (!/^-?\d+$/.test(text)) {
    throw invalidInput(
      `error parsing history flag: ${JSON.stringify(text)} is not "none", "all" or a number`,
    );
  }
  return Number(text);
}
