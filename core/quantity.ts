/** Amounts as pipeline specs write them: `64M`, `1Gi`, `500m`. */

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  m: 1e-3,
  k: 1e3,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
};

/** A quantity rounded up to a whole number; undefined when the text is not one. */
export function parseQuantity(text: string): number | undefined {
  const match = /^([0-9]+(?:\.[0-9]+)?)([A-Za-z]{0,2})$/.exec(text.trim());
  const unit = match ? UNITS[match[2] ?? ''] : undefined;
  return match && unit !== undefined ? Math.ceil(Number(match[1]) * unit) : undefined;
}

/** Bytes for people: `64Mi`, `1.5Gi`, `200`. */
export function formatBytes(bytes: number): string {
  for (const unit of ['Pi', 'Ti', 'Gi', 'Mi', 'Ki'] as const) {
    const value = bytes / (UNITS[unit] ?? 1);
    if (value >= 1) return `${Number(value.toFixed(value < 10 ? 2 : 1))}${unit}`;
  }
  return String(bytes);
}
