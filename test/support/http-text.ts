/** Web pages as tests wait for them. */
import { until } from './until.js';

/** What lies at an address; undefined while nobody answers, or with an error. */
export async function textOf(url: string): Promise<string | undefined> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(5_000) });
    return answer.ok ? await answer.text() : undefined;
  } catch {
    return undefined;
  }
}

export async function answers(url: string, body: string): Promise<void> {
  await until(`${url} answers ${body}`, async () => (await textOf(url)) === body, 60_000);
}
