/**
 * Finds what a text (a value in etcd, a JSON blob) refers to, whatever its shape: references as
 * text anywhere in it, and base64 strings of nodes and runs. Somebody who stores a reference in a
 * new place need not tell the collector. A text that merely looks like a reference keeps at most
 * one object too many.
 */
import type { ObjectKind, ObjectRef } from '../types.js';

export interface FoundRef {
  readonly ref: ObjectRef;
  /** Log segments hold text of users' programs: kept, but not looked into. */
  readonly leaf: boolean;
}

const REF =
  /("log":")?(?<![A-Za-z0-9])(c|p|page|run|blob)\/(\d{1,9})\/([0-9a-f]{64})(?![0-9a-f])(?:\/(\d{1,15}))?/g;
/** Lists of log segments, or what stands between them. */
const LEAVES = /("moreLogs":\[[^\]]*\])/;
/** Records begin with a letter and version 1: `N` (node) or `R` (run). */
const BINARY = /"(?:i:)?((?:Tg|Ug)[E-H][A-Za-z0-9+/]{5,}={0,2})"/g;
const NODE = 0x4e;

export interface FoundBinary {
  readonly what: 'node' | 'run';
  readonly bytes: Buffer;
}

/** References written as text. */
export function* refsIn(text: string): Generator<FoundRef> {
  for (const part of text.includes('"moreLogs":[') ? text.split(LEAVES) : [text]) {
    yield* refsOf(part, part.startsWith('"moreLogs":['));
  }
}

function* refsOf(text: string, leaves: boolean): Generator<FoundRef> {
  for (const match of text.matchAll(REF)) {
    yield {
      leaf: leaves || match[1] !== undefined,
      ref: {
        kind: match[2] as ObjectKind,
        epoch: Number(match[3]),
        digest: Buffer.from(match[4] as string, 'hex'),
        size: Number(match[5] ?? 0),
      },
    };
  }
}

/** Nodes and runs that stand in the text themselves; what only looks so is for the caller to find. */
export function* binariesIn(text: string): Generator<FoundBinary> {
  for (const match of text.matchAll(BINARY)) {
    const bytes = Buffer.from(match[1] as string, 'base64');
    yield { what: bytes[0] === NODE ? 'node' : 'run', bytes };
  }
}
