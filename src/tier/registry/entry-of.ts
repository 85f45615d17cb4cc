import type { ArchiveSummary } from "../ports.ts";
import type { SegmentEntry } from "./segment-registry.ts";

type Place = "topic" | "topicId" | "partition" | "generation" | "base" | "last";

/** The entry of an archive that was built, or verified, for this place. */
export function entryOf(
  place: Pick<SegmentEntry, Place>,
  archive: Pick<SegmentEntry, "key" | "index" | "createdMs">,
  summary: ArchiveSummary,
): SegmentEntry {
  const { topic, topicId, partition, generation, base, last } = place;
  const { records, minTimestamp, maxTimestamp, bytes, rawBytes, sha256 } = summary;
  const { tocPosition, tocCrc32c, documents, aborted } = summary;
  const { key, index, createdMs } = archive;
  return {
    ...{ topic, topicId, partition, generation, base, last },
    ...{ records, minTimestamp, maxTimestamp, key, bytes, rawBytes, sha256, tocPosition },
    ...(tocCrc32c === undefined ? {} : { tocCrc32c }),
    ...{ documents, aborted, index, createdMs },
  };
}
