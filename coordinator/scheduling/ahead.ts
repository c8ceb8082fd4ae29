/** What workers told of tasks of several datums whose result is not there yet. */
import type { TaskProgress } from '../../queue/index.js';
import type { Counts } from './board.js';

export class Ahead {
  readonly #news = new Map<number, TaskProgress>();
  #told = false;

  /** Takes news of a task; whoever runs it again starts from nothing. */
  hear(news: TaskProgress): void {
    const before = this.#news.get(news.task);
    // Of two copies the one that is further counts, so counters never go back.
    if (before && doneIn(before) >= doneIn(news)) return;
    this.#news.set(news.task, news);
    this.#told = true;
  }

  /** The task has a result. */
  end(task: number): void {
    this.#news.delete(task);
  }

  /** True when something was told since the last call. */
  takeTold(): boolean {
    const told = this.#told;
    this.#told = false;
    return told;
  }

  /** Counts of results with what was told on top. */
  with(counts: Counts): Counts {
    let { processed, failed, recovered } = counts;
    for (const news of this.#news.values()) {
      processed += news.processed;
      failed += news.failed;
      recovered += news.recovered;
    }
    return { ...counts, processed, failed, recovered };
  }
}

function doneIn({ processed, failed, recovered }: TaskProgress): number {
  return processed + failed + recovered;
}
