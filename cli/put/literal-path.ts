/** Paths given to get, list and inspect are patterns; names that hold special characters are escaped. */
export function literalPath(path: string): string {
  return path.replace(/[*?[\]{}!()@+^\\]/g, '\\$&');
}
