import type { SegmentEntry } from "../../src/tier/registry/segment-registry.ts";

/** A registry entry of offsets [base, last] with plausible other fields. */
export function segmentEntry(
  base: number,
  last: number,
  over: Partial<SegmentEntry> = {},
): SegmentEntry {
  return {
    topic: "t",
    topicId: "id-t",
    partition: 0,
    generation: 1,
    base,
    last,
    records: last - base + 1,
    minTimestamp: base,
    maxTimestamp: last,
    key: `tantivy_indexes/t/partition-0/segment-${base}-${last}.tar.gz`,
    bytes: 1000,
    rawBytes: 2000,
    sha256: "0".repeat(64),
    tocPosition: 900,
    documents: 0,
    index: "full",
    createdMs: 0,
    ...over,
  };
}
