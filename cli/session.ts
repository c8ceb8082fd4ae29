/** One run of the program: where it reads and writes, how it looks, and its lazily made client. */
import type { Clock } from '../core/clock.js';
import type { Client } from './client/client.js';
import type { Paint } from './render/colour.js';

export interface TextSink {
  write(chunk: string | Uint8Array): boolean;
  readonly isTTY: boolean;
  readonly columns: number;
}

export type Env = Readonly<Record<string, string | undefined>>;

export interface Session {
  /** Base name the program was called by: `tusk` or `pachctl`. */
  readonly program: string;
  readonly env: Env;
  readonly clock: Clock;
  /** Aborts when the user interrupts. */
  readonly signal: AbortSignal;
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  readonly verbose: boolean;
  readonly paint: Paint;
  /** The connection to the server, opened on first use. */
  client(): Promise<Client>;
  /** Writes to standard output. */
  out(text: string | Uint8Array): void;
  /** Writes a line for the person, beside the output. */
  note(line: string): void;
}
