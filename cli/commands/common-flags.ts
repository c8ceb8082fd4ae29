/** Flags that many commands share. */
import { flag, type Flag } from '../grammar/command.js';

export const RAW: Flag = flag.bool('raw', 'print JSON instead of text');
export const FULL: Flag = flag.bool('full-timestamps', 'print times as timestamps instead of ages');
export const NO_PAGER: Flag = flag.bool('no-pager', 'do not page the output');
export const RAW_OUTPUT: readonly Flag[] = [
  RAW,
  flag.text('output|o', 'with --raw: json or yaml', { value: 'FORMAT' }),
];

/** `R X` → `R@X`, with nothing added when X is absent. */
export function joinRef(repo: string | undefined, id: string | undefined): string {
  return id === undefined || id === '' ? (repo ?? '') : `${repo ?? ''}@${id}`;
}

/** `R X path` → `R@X:path`. */
export function joinFile(repo?: string, id?: string, path?: string): string {
  return path === undefined ? joinRef(repo, id) : `${joinRef(repo, id)}:${path}`;
}
