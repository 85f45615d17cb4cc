/** Bytes that lie in several places and leave as one value: records as they are held, not joined.
 * Nobody changes them before they are sent. */
export class Pieces {
  readonly parts: readonly Uint8Array[];
  /** Of all parts together, bytes. */
  readonly length: number;

  constructor(parts: readonly Uint8Array[]) {
    this.parts = parts;
    let length = 0;
    for (const part of parts) length += part.length;
    this.length = length;
  }
}
