/** One damaged piece of stored data. Offsets are inclusive; null where they are not known. */
export interface Finding {
  readonly kind: "archive" | "wal" | "journal";
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly first: number | null;
  readonly last: number | null;
  /** Object key, or the file. */
  readonly key: string;
  readonly reason: string;
  readonly foundMs: number;
}

/** What an operator does about a finding. */
export function adviceOf(finding: Pick<Finding, "kind">): string {
  switch (finding.kind) {
    case "archive":
      return (
        "put the object back from a copy under the same key (the next check takes it into use), " +
        "or give these offsets up with kafka-delete-records.sh"
      );
    case "wal":
      return "stop the broker and put the file back from a copy, or delete the topic";
    case "journal":
      return "stop the broker and put the file back from a copy";
  }
}

/** The newest `countMax` findings, one for each object or place of a file. */
export class Findings {
  private readonly byPlace = new Map<string, Finding>();
  private readonly countMax: number;
  /** Findings that were not kept because there were too many. */
  dropped = 0;

  constructor(countMax: number) {
    this.countMax = countMax;
  }

  add(finding: Finding): void {
    const place = placeOf(finding);
    if (!this.byPlace.has(place) && this.byPlace.size >= this.countMax) {
      this.dropped++;
      return;
    }
    this.byPlace.set(place, finding);
  }

  /** An object that is sound again. */
  removeArchive(key: string): void {
    this.byPlace.delete(`archive ${key}`);
  }

  /** Before a partition's files are read again. */
  removeWal(topicId: string, partition: number): void {
    for (const [place, finding] of this.byPlace) {
      const same = finding.topicId === topicId && finding.partition === partition;
      if (same && finding.kind === "wal") this.byPlace.delete(place);
    }
  }

  /** Drops what is not there any more. */
  keep(isThere: (finding: Finding) => boolean): void {
    for (const [place, finding] of this.byPlace) {
      if (!isThere(finding)) this.byPlace.delete(place);
    }
  }

  get size(): number {
    return this.byPlace.size;
  }

  list(): Finding[] {
    return [...this.byPlace.values()];
  }
}

function placeOf({ kind, key, first, reason }: Finding): string {
  return kind === "archive" ? `archive ${key}` : `${kind} ${key} ${first} ${reason}`;
}
