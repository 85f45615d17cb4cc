/** What the metadata of a restored broker differ in from those that were backed up. (pure) */
import { BrokerError, errorText } from "../lib/errors.ts";
import { apply, imageOf, snapshotOf } from "../metadata/apply.ts";
import type { Snapshot } from "../metadata/command.ts";
import { emptyImage, type MetadataImage, type TopicImage } from "../metadata/image.ts";
import { decodeEntry } from "../metadata/journal-entry.ts";
import { checkTopicName } from "../metadata/topic-name.ts";
import { isUuid } from "../protocol/uuid.ts";

/** A broker raises each leader epoch once an unclean start. So many starts behind the backup would
 * take days, and a thousand restores of a cluster have room below 2^31. */
const leaderEpochMargin = 1_000_000;
/** Producer ids are handed out in blocks of 1,000 behind an fsync: at a thousand blocks a second
 * this many last twelve days. There is room for thousands of restores below 2^53. */
const producerIdMargin = 2 ** 40;
const leaderEpochMax = 2 ** 31 - 1;

/** The image that journal entries make up. Rejects with a BrokerError. */
export function imageFrom(entries: readonly Uint8Array[]): MetadataImage {
  let image = emptyImage;
  for (const bytes of entries) {
    const entry = decodeEntry(bytes);
    try {
      image = entry.snapshot === null ? apply(image, entry.commands) : imageOf(entry.snapshot);
    } catch (cause) {
      throw new BrokerError(
        "CHRONIK_BACKUP_DAMAGED",
        `the backed up metadata contradict themselves: ${errorText(cause)}`,
        { cause },
      );
    }
  }
  return image;
}

/** Names become folders: what no broker would have taken is refused. */
export function checkTopics(image: MetadataImage): void {
  for (const { name, id, partitions } of image.topicsById.values()) {
    const inOrder = partitions.every(({ index }, at) => index === at);
    if (checkTopicName(name) === null && isUuid(id) && inOrder) continue;
    throw new BrokerError(
      "CHRONIK_BACKUP_DAMAGED",
      `the backed up metadata name a topic ${JSON.stringify(name)} that cannot be; ` +
        "nothing was restored",
    );
  }
}

/** The same topics, with leader epochs and producer ids above all that can have been handed out
 * between the backup and the loss. */
export function restoredSnapshot(image: MetadataImage): Snapshot {
  const snapshot = snapshotOf(image);
  const producerIdNext = snapshot.producerIdNext + producerIdMargin;
  if (!Number.isSafeInteger(producerIdNext)) throw usedUp("producer ids");
  const topics = snapshot.topics.map((topic) => ({
    ...topic,
    partitions: topic.partitions.map((partition) => {
      const leaderEpoch = partition.leaderEpoch + leaderEpochMargin;
      if (leaderEpoch > leaderEpochMax) throw usedUp(`leader epochs of ${topic.name}`);
      return { ...partition, leaderEpoch };
    }),
  }));
  return { ...snapshot, topics, producerIdNext };
}

/** Metadata of which nothing is known but what archives tell. */
export function bareImage(options: {
  readonly clusterId: string;
  readonly topics: readonly TopicImage[];
  readonly producerIdNext: number;
}): MetadataImage {
  const { clusterId, topics, producerIdNext } = options;
  return {
    ...emptyImage,
    version: 1,
    clusterId,
    topicsByName: new Map(topics.map((topic) => [topic.name, topic])),
    topicsById: new Map(topics.map((topic) => [topic.id, topic])),
    producerIdNext,
    partitionCount: topics.reduce((sum, { partitions }) => sum + partitions.length, 0),
  };
}

function usedUp(what: string): BrokerError {
  return new BrokerError("CHRONIK_RESTORE", `the ${what} are used up: this was restored too often`);
}
