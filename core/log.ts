/**
 * Logging: pino behind one function. JSON lines to a file (for programs), pretty text on a terminal
 * (for people). Messages are constant sentences; values go into fields (`repo`, `commit`, `job`,
 * `request`, `durationMs`, `errorCode`). Child loggers carry the ids of the thing they work for.
 */
import { dirname } from 'node:path';
import pino from 'pino';
import { makeDir } from './make-dir.js';

export type Log = pino.Logger;

export interface LogOptions {
  /** Which part writes: coordinator, worker, cli … */
  readonly part: string;
  /** JSON lines go here; absent = standard error. */
  readonly file?: string;
  readonly level?: string;
  /** Also write pretty text to standard error. */
  readonly pretty?: boolean;
  /** Also gets every line, as JSON. */
  readonly recent?: { write(line: string): void };
}

export function createLog(options: LogOptions): Log {
  const level = options.level ?? 'info';
  const streams: pino.StreamEntry[] = [];
  if (options.file !== undefined) makeDir(dirname(options.file));
  const file = { dest: options.file ?? 2, sync: false };
  if (options.file !== undefined || !options.pretty) {
    streams.push({ level: level as pino.Level, stream: pino.destination(file) });
  }
  if (options.pretty) {
    const transport = {
      target: 'pino-pretty',
      options: { destination: 2, ignore: 'pid,hostname' },
    };
    streams.push({
      level: level as pino.Level,
      stream: pino.transport(transport) as pino.DestinationStream,
    });
  }
  if (options.recent) streams.push({ level: level as pino.Level, stream: options.recent });
  return pino({ level, base: { part: options.part, pid: process.pid } }, pino.multistream(streams));
}

/** A logger that drops everything, for tests and tools that have no log. */
export const silentLog: Log = pino({ level: 'silent' });
