/** Which parts hold which offsets of the internal topics' logs. (pure) */
import type { Part } from "./format.ts";
import type { BackupPartition, BackupSegment } from "./ports.ts";

/** What one backup is to read of a partition. */
export interface LogPlan {
  readonly from: number;
  readonly to: number;
  /** All of the log as it is now replaces what earlier parts hold. */
  readonly reset: boolean;
}

interface Chain {
  readonly to: number;
  /** Of the batches in parts. */
  readonly bytes: number;
}

interface HeldPart {
  readonly part: Part;
  /** Partitions that need it. */
  readonly keys: Set<string>;
}

/** So much may be superseded before a log is uploaded anew. */
const slackBytes = 1 << 20;
const slackFactor = 2;
/** Beyond so many parts all logs are uploaded anew. */
const partsMax = 64;

/** The logs as the last complete backup has them; a copy becomes the next one. */
export class LogChains {
  private chains: Map<string, Chain>;
  private held: HeldPart[];

  constructor(from?: LogChains) {
    this.chains = new Map(from?.chains);
    this.held = (from?.held ?? []).map(({ part, keys }) => ({ part, keys: new Set(keys) }));
  }

  /** Oldest first. */
  get parts(): Part[] {
    return this.held.map(({ part }) => part);
  }

  /** From here on every log is taken whole again. */
  restartIfLong(): void {
    if (this.held.length > partsMax) this.chains.clear();
  }

  /** Null where nothing is new. A log is taken whole when it is new here, was cut or compacted
   * where it was not read yet (a tombstone may be gone whose record an earlier part still has), or
   * when much of what the parts hold was superseded. */
  plan(partition: BackupPartition): LogPlan | null {
    const { logStartOffset, highWatermark } = partition;
    const chain = this.chains.get(chainKey(partition));
    const whole = { from: logStartOffset, to: highWatermark, reset: true };
    if (chain === undefined || chain.to > highWatermark) return whole;
    const isBloated = chain.bytes > slackFactor * partition.bytes + slackBytes;
    const isCut = logStartOffset > chain.to || holdsCleaned(partition.segments(), chain.to);
    if (isBloated || isCut) return whole;
    return chain.to === highWatermark ? null : { from: chain.to, to: highWatermark, reset: false };
  }

  /** What was read by a plan is in `parts`, which come behind all others. */
  add(partition: BackupPartition, { to, reset }: LogPlan, bytes: number): void {
    const key = chainKey(partition);
    const before = reset ? 0 : (this.chains.get(key)?.bytes ?? 0);
    if (reset) this.forget(key);
    this.chains.set(key, { to, bytes: before + bytes });
  }

  /** What was just read cannot be used: the log is taken whole the next time. */
  taint(partition: BackupPartition): void {
    this.chains.delete(chainKey(partition));
  }

  /** `keys` are the partitions read since the last call. */
  addParts(parts: readonly Part[], keys: readonly string[]): void {
    for (const part of parts) this.held.push({ part, keys: new Set(keys) });
  }

  /** Forgets partitions that are no more. */
  keepOnly(keys: ReadonlySet<string>): void {
    for (const key of this.chains.keys()) if (!keys.has(key)) this.chains.delete(key);
    for (const { keys: users } of this.held) {
      for (const key of users) if (!keys.has(key)) users.delete(key);
    }
    this.held = this.held.filter(({ keys: users }) => users.size > 0);
  }

  private forget(key: string): void {
    for (const { keys } of this.held) keys.delete(key);
    this.held = this.held.filter(({ keys }) => keys.size > 0);
  }
}

export function chainKey({ topicId, index }: BackupPartition): string {
  return `${topicId}/${index}`;
}

/** Compacted segments that reach past `from`, as one text: it changes whenever one does. */
export function cleanedState(segments: readonly BackupSegment[], from: number): string {
  return segments
    .filter(({ cleaned, last }) => cleaned && last >= from)
    .map(({ id, bytes }) => `${id}:${bytes}`)
    .join();
}

function holdsCleaned(segments: readonly BackupSegment[], from: number): boolean {
  return segments.some(({ cleaned, last }) => cleaned && last >= from);
}
