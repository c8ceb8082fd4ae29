/**
 * Progress bars on a terminal: one per file while there are few, one for all when there are many.
 * Off a terminal nothing is printed.
 */
import cliProgress from 'cli-progress';
import { formatDecimal } from '../render/size.js';

export interface Progress {
  /** A file starts; its size is undefined for streams. */
  begin(name: string, bytes: number | undefined): void;
  sent(bytes: number): void;
  end(): void;
  /** The transfer is over. */
  stop(): void;
}

export const NO_PROGRESS: Progress = {
  begin: () => undefined,
  sent: () => undefined,
  end: () => undefined,
  stop: () => undefined,
};

export interface Totals {
  readonly files: number;
  readonly bytes: number;
}

/** Up to this many files get a bar each. */
const BARS_MAX = 12;

/** Bars for a transfer of known or unknown extent. */
export function openProgress(totals: Totals | undefined, stream: NodeJS.WritableStream): Progress {
  return totals === undefined || totals.files <= BARS_MAX
    ? new PerFile(stream)
    : new Whole(totals, stream);
}

function options(stream: NodeJS.WritableStream, format: string): cliProgress.Options {
  return {
    stream,
    format,
    fps: 10,
    barsize: 30,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    etaBuffer: 50,
    formatValue: (value, _options, type) =>
      type === 'value' || type === 'total' ? formatDecimal(value) : String(value),
  };
}

/** Bytes per second, averaged over the bar's life. */
class Speed {
  readonly #start = performance.now();
  text(bytes: number): string {
    const seconds = (performance.now() - this.#start) / 1000;
    return seconds < 0.2 ? '' : `${formatDecimal(Math.round(bytes / seconds))}/s`;
  }
}

function fitName(name: string): string {
  const width = 28;
  return name.length > width ? `…${name.slice(1 - width)}` : name.padEnd(width);
}

class PerFile implements Progress {
  readonly #stream: NodeJS.WritableStream;
  #bar: cliProgress.SingleBar | undefined;
  #speed = new Speed();
  #bytes = 0;
  #total: number | undefined;

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
  }

  begin(name: string, bytes: number | undefined): void {
    this.#bytes = 0;
    this.#total = bytes;
    this.#speed = new Speed();
    const format =
      bytes === undefined
        ? `${fitName(name)} {value} {speed}`
        : `${fitName(name)} {value} / {total} {bar} ETA {eta_formatted} {speed}`;
    this.#bar = new cliProgress.SingleBar(options(this.#stream, format));
    this.#bar.start(bytes ?? 0, 0, { speed: '' });
  }

  sent(bytes: number): void {
    this.#bytes += bytes;
    if (this.#total !== undefined && this.#bytes > this.#total) this.#bar?.setTotal(this.#bytes);
    this.#bar?.update(this.#bytes, { speed: this.#speed.text(this.#bytes) });
  }

  end(): void {
    if (this.#total !== undefined) this.#bar?.setTotal(Math.max(this.#bytes, 1));
    this.#bar?.update(Math.max(this.#bytes, this.#total === undefined ? 0 : 1), {
      speed: this.#speed.text(this.#bytes),
    });
    this.#bar?.stop();
    this.#bar = undefined;
  }

  stop(): void {
    this.#bar?.stop();
  }
}

class Whole implements Progress {
  readonly #bar: cliProgress.SingleBar;
  readonly #speed = new Speed();
  #files = 0;
  #bytes = 0;

  constructor(totals: Totals, stream: NodeJS.WritableStream) {
    const format = `{files} / ${totals.files} files  {value} / {total} {bar} ETA {eta_formatted} {speed}`;
    this.#bar = new cliProgress.SingleBar(options(stream, format));
    this.#bar.start(Math.max(totals.bytes, 1), 0, { files: 0, speed: '' });
  }

  begin(): void {
    // One bar for all files.
  }

  sent(bytes: number): void {
    this.#bytes += bytes;
    this.#bar.update(this.#bytes, { files: this.#files, speed: this.#speed.text(this.#bytes) });
  }

  end(): void {
    this.#files += 1;
    this.#bar.update(this.#bytes, { files: this.#files, speed: this.#speed.text(this.#bytes) });
  }

  stop(): void {
    this.#bar.stop();
  }
}
