// node snippet.mjs HEADING: prints the first program below a heading of docs/clients.md, with the
// address of the running stack in place of the default one.
import { readFileSync } from 'node:fs';

const [heading, page = '../../docs/clients.md'] = process.argv.slice(2);
const text = readFileSync(new URL(page, import.meta.url), 'utf8');
const section = text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? '';
const [, code] = /```(?:python|js|go)\n([^]*?)```/.exec(section) ?? [];
if (code === undefined) throw new Error(`docs/clients.md has no program below "${heading}"`);
process.stdout.write(
  code.replaceAll('127.0.0.1:30650', process.env.PACHD_ADDRESS ?? '127.0.0.1:30650'),
);
