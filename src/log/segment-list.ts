/** The WAL segments of one partition as completions tell them; sealed ones exact. (pure) */
import { frameHeaderBytes, type SegmentInfo } from "./ports.ts";

interface Segment extends SegmentInfo {
  /** Monotonic clock of the first append; of the opening for recovered segments. */
  readonly firstAppendMonotonicMs: number;
}

export class SegmentList {
  private segments: Segment[] = [];
  private bytesTotal = 0;
  private readonly onBytes: (change: number) => void;

  /** `onBytes` hears of every change of `bytes`, the recovered ones first. */
  constructor(
    recovered: readonly SegmentInfo[],
    monotonicMs: number,
    onBytes: (change: number) => void = () => undefined,
  ) {
    this.onBytes = onBytes;
    this.replaceAll(recovered, monotonicMs);
  }

  /** First offset in the WAL; null when it holds nothing. */
  get start(): number | null {
    return this.segments[0]?.base ?? null;
  }

  get bytes(): number {
    return this.bytesTotal;
  }

  /** Above every id seen. */
  get nextId(): number {
    return (this.segments.at(-1)?.id ?? -1) + 1;
  }

  get active(): Segment | null {
    const last = this.segments.at(-1);
    return last === undefined || last.sealed ? null : last;
  }

  list(): readonly SegmentInfo[] {
    return this.segments;
  }

  /** A batch became durable in `segmentId`; true when that began a new segment behind another. */
  appended(
    segmentId: number,
    position: number,
    batch: { base: number; last: number; records: number; bytes: number; maxTimestamp: number },
    wallMs: number,
    monotonicMs: number,
  ): boolean {
    const index = this.segments.length - 1;
    const last = this.segments[index];
    const bytes = position + frameHeaderBytes + batch.bytes;
    if (last !== undefined && last.id === segmentId) {
      this.grow(bytes - last.bytes);
      this.segments[index] = {
        ...last,
        last: batch.last,
        bytes,
        records: last.records + batch.records,
        maxTimestamp: Math.max(last.maxTimestamp, batch.maxTimestamp),
      };
      return false;
    }
    const rotated = last !== undefined && !last.sealed;
    if (rotated) this.segments[index] = { ...last, sealed: true };
    this.segments.push({
      id: segmentId,
      base: batch.base,
      last: batch.last,
      bytes,
      records: batch.records,
      maxTimestamp: batch.maxTimestamp,
      sealed: false,
      cleaned: false,
      firstAppendMs: wallMs,
      firstAppendMonotonicMs: monotonicMs,
    });
    this.grow(bytes);
    return rotated;
  }

  /** The engine's exact word on segments that are sealed; others are as completions told. */
  sealed(infos: readonly SegmentInfo[]): void {
    for (const info of infos) {
      const index = this.segments.findIndex((segment) => segment.id === info.id);
      const known = this.segments[index];
      if (known === undefined || !info.sealed) continue;
      this.grow(info.bytes - known.bytes);
      this.segments[index] = { ...info, firstAppendMonotonicMs: known.firstAppendMonotonicMs };
    }
  }

  released(ids: readonly number[]): void {
    const gone = new Set(ids);
    this.replaceKept(this.segments.filter((segment) => !gone.has(segment.id)));
  }

  /** The log is no longer this list's to count; its files go, or it is opened anew. */
  forget(): void {
    this.replaceKept([]);
  }

  private replaceAll(infos: readonly SegmentInfo[], monotonicMs: number): void {
    this.replaceKept(infos.map((info) => ({ ...info, firstAppendMonotonicMs: monotonicMs })));
  }

  private replaceKept(segments: Segment[]): void {
    this.segments = segments;
    this.grow(segments.reduce((sum, segment) => sum + segment.bytes, 0) - this.bytesTotal);
  }

  private grow(change: number): void {
    this.bytesTotal += change;
    if (change !== 0) this.onBytes(change);
  }
}
