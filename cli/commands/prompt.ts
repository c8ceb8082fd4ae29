/** Reading standard input: whole, or one line as the answer to a question. */
import { invalidInput } from '../../core/errors.js';
import type { Session } from '../session.js';

export async function readAll(session: Session): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of session.stdin) {
    session.signal.throwIfAborted();
    parts.push(typeof part === 'string' ? Buffer.from(part) : (part as Buffer));
  }
  return Buffer.concat(parts);
}

/** Asks a yes-or-no question; `yes |` works without a terminal. Throws at the end of input. */
export async function confirm(session: Session, question: string): Promise<boolean> {
  session.stderr.write(`${question} (y/N): `);
  let line = '';
  for await (const part of session.stdin) {
    line += String(part);
    if (line.includes('\n')) break;
  }
  if (line === '') throw invalidInput('no answer: standard input ended');
  if (!session.stdin.isTTY) session.out(`${line.split('\n')[0] ?? ''}\n`);
  return /^[yY]/.test(line.trimStart());
}
