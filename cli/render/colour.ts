/** Colours, only ever used on a terminal. */

export type ColourName = 'green' | 'yellow' | 'red';
const CODES: Record<ColourName, number> = { green: 32, yellow: 33, red: 31 };

/** Paints text, or returns it as it is when colours are off. */
export type Paint = (colour: ColourName, text: string) => string;

export function paintWith(on: boolean): Paint {
  return (colour, text) => (on && text !== '' ? `\u001b[${CODES[colour]}m${text}\u001b[0m` : text);
}

const ESCAPES = /\u001b\[[0-9;]*m/g;

/** Characters a text takes on screen: code points without colour escapes. */
export function widthOf(text: string): number {
  const plain = text.includes('\u001b') ? text.replace(ESCAPES, '') : text;
  // Only texts with surrogate pairs need counting by code point.
  return /[\ud800-\udbff]/.test(plain) ? [...plain].length : plain.length;
}
