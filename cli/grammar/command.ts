/** What a command is: its words, arguments, flags and the code behind it (loaded when it runs). */
import type { Session } from '../session.js';
import type { FlagValues } from './flags.js';

export type FlagKind =
  | 'bool'
  | 'string'
  | 'int'
  | 'uint'
  | 'duration'
  /** Repeatable; each value is also split at commas with CSV quoting. */
  | 'slice'
  /** Repeatable, never split. */
  | 'repeat';

export interface Flag {
  readonly name: string;
  readonly short?: string;
  readonly kind: FlagKind;
  readonly help: string;
  /** Word shown for the value in help. */
  readonly value?: string;
  /** Default, as typed; only for help and for flags not given. */
  readonly initial?: string;
  readonly hidden?: boolean;
}

/** What a command's code receives. */
export interface Call {
  readonly session: Session;
  readonly args: readonly string[];
  readonly flags: FlagValues;
  /** True when the old hyphenated form was typed. */
  readonly hyphenated: boolean;
}

/** Answers the exit code when it is another than 0. */
export type Run = (call: Call) => Promise<number | void>;

/** The old form of a command, when its arguments or flags differ from the new one's. */
export interface OldForm {
  readonly name: string;
  readonly args?: string;
  readonly min?: number;
  readonly max?: number;
  /** Flags only the old form has. */
  readonly flags?: readonly Flag[];
  /** Rewrites the typed arguments into those of the new form. */
  readonly rewrite?: (args: readonly string[]) => {
    args: string[];
    flags?: Readonly<Record<string, string>>;
  };
}

export interface Command {
  /** `create repo`, `logs`, `config get context`. */
  readonly words: string;
  /** Arguments as shown in the usage line. */
  readonly args: string;
  readonly min: number;
  readonly max: number;
  readonly summary: string;
  readonly details?: string;
  readonly examples?: readonly (readonly [string, string])[];
  readonly flags: readonly Flag[];
  readonly hidden?: boolean;
  readonly old?: readonly OldForm[];
  readonly load: () => Promise<Run>;
}

const make =
  (kind: FlagKind) =>
  (spelling: string, help: string, more: Partial<Flag> = {}): Flag => {
    const [name = '', short] = spelling.split('|');
    return { name, ...(short ? { short } : {}), kind, help, ...more };
  };

/** Flag makers; the spelling is `long` or `long|s`. */
export const flag = {
  bool: make('bool'),
  text: make('string'),
  int: make('int'),
  uint: make('uint'),
  duration: make('duration'),
  slice: make('slice'),
  repeat: make('repeat'),
};
