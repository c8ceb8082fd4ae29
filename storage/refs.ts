/** Object references as text: `<kind>/<epoch>/<sha256 hex>/<bytes>`, used in etcd and messages. */
import { invalidInput } from '../core/errors.js';
import type { ObjectKind, ObjectRef, PieceLocation } from './types.js';

const TEXT = /^(c|p|page|run|blob)\/(\d{1,9})\/([0-9a-f]{64})\/(\d{1,15})$/;

/** The object that a piece needs: what holds its bytes, or says where they are. */
export function objectOf(
  location: Pick<PieceLocation, 'kind' | 'epoch' | 'digest'>,
): Pick<ObjectRef, 'kind' | 'epoch' | 'digest'> {
  const { kind, epoch, digest } = location;
  return { kind: kind === 'x' ? 'blob' : kind, epoch, digest };
}

/** The object store key of a reference. */
export function keyOf(ref: Pick<ObjectRef, 'kind' | 'epoch' | 'digest'>): string {
  return `${ref.kind}/${ref.epoch}/${ref.digest.toString('hex')}`;
}

export function refToText(ref: ObjectRef): string {
  return `${keyOf(ref)}/${ref.size}`;
}

/** Throws INVALID_INPUT when the text is not a reference. */
export function refFromText(text: string): ObjectRef {
  const match = TEXT.exec(text);
  if (!match) throw invalidInput(`not an object reference: "${text.slice(0, 120)}"`);
  return {
    kind: match[1] as ObjectKind,
    epoch: Number(match[2]),
    digest: Buffer.from(match[3] as string, 'hex'),
    size: Number(match[4]),
  };
}
