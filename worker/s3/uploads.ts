/** Multipart uploads of one datum. They live as long as it does. */
import type { FileContent } from '../../storage/types.js';
import type { Part } from '../../http/s3/parts.js';
import { noSuchUpload } from '../../http/s3/s3-error.js';

export interface UploadedPart extends Part {
  readonly content: FileContent;
}

export interface Upload {
  readonly id: string;
  readonly key: string;
  readonly parts: Map<number, UploadedPart>;
  /** Tag of what was made; the same request sent again gets the same answer. */
  made?: string;
}

export class Uploads {
  readonly #uploads = new Map<string, Upload>();

  create(id: string, key: string): void {
    this.#uploads.set(id, { id, key, parts: new Map() });
  }

  /** Throws NoSuchUpload. */
  get(id: string, key: string): Upload {
    const upload = this.#uploads.get(id);
    if (upload?.key !== key) throw noSuchUpload(id);
    return upload;
  }

  /** Throws NoSuchUpload, also when it was completed. */
  open(id: string, key: string): Upload {
    const upload = this.get(id, key);
    if (upload.made !== undefined) throw noSuchUpload(id);
    return upload;
  }

  abort(id: string, key: string): void {
    this.open(id, key);
    this.#uploads.delete(id);
  }
}
