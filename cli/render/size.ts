/** Sizes as v1 clients print them: powers of 1024, four significant digits, `45.29MiB`. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** Text of a byte count. Rounds the exact value, ties to even. */
export function formatSize(bytes: number): string {
  let unit = 0;
  while (unit < UNITS.length - 1 && bytes >= 1024 ** (unit + 1)) unit += 1;
  const divisor = 1024n ** BigInt(unit);
  const exact = BigInt(Math.trunc(bytes));
  const whole = exact / divisor;
  const decimals = Math.max(0, 4 - whole.toString().length);
  const scaled = roundHalfEven(exact * 10n ** BigInt(decimals), divisor);
  let text = scaled.toString().padStart(decimals + 1, '0');
  if (decimals > 0) {
    text = `${text.slice(0, -decimals)}.${text.slice(-decimals)}`.replace(/\.?0+$/, '');
  }
  return text + (UNITS[unit] as string);
}

function roundHalfEven(numerator: bigint, denominator: bigint): bigint {
  const quotient = numerator / denominator;
  const twice = (numerator % denominator) * 2n;
  if (twice > denominator) return quotient + 1n;
  return twice === denominator && quotient % 2n === 1n ? quotient + 1n : quotient;
}

/** Decimal megabytes with two decimals, for progress bars: `12.34 MB`. */
export function formatDecimal(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(2)} ${units[unit] as string}`;
}
