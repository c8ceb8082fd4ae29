/** What values of sorted maps refer to: records of datum manifests, or any text. */
import { decodeRecord } from '../scheduling/record.js';

export function textOfMapValue(value: Buffer): string | undefined {
  try {
    const { run, files } = decodeRecord(value);
    return files === undefined ? run : `${run ?? ''} ${files}`;
  } catch {
    return value.toString('latin1');
  }
}
