import {
  appendRecords,
  type CoordinatorTopic,
  openCoordinatorPartition,
  replayRecords,
} from "./broker-coordinator-log.ts";
import type { CoordinatorTopics } from "./group/ports.ts";
import type { Partitions } from "./log/partitions.ts";
import type { Metadata } from "./metadata/controller.ts";
import { offsetsTopic, offsetsTopicForm } from "./metadata/coordinator-topics.ts";

/** The coordinator's view of topics, and of `__consumer_offsets` as a log of records. */
export function coordinatorTopics(
  metadata: Metadata,
  partitions: Partitions,
  partitionCount: number,
): CoordinatorTopics {
  const image = () => metadata.image;
  let topics = image().topicsByName;
  let topicsVersion = image().version;
  const existing = image().topicsByName.get(offsetsTopic);
  const topic: CoordinatorTopic = {
    ...offsetsTopicForm(partitionCount),
    errorCode: "CHRONIK_OFFSETS_TOPIC",
  };
  return {
    partitionCount: existing?.partitions.length ?? partitionCount,
    topicExists: (name) => image().topicsByName.has(name),
    topicId: (name) => image().topicsByName.get(name)?.id ?? null,
    topicName: (id) => image().topicsById.get(id)?.name ?? null,
    topicNames: () => image().topicsByName.keys(),
    get topicsVersion() {
      // The image gets a new map whenever a topic comes, goes or changes.
      if (image().topicsByName !== topics) {
        topics = image().topicsByName;
        topicsVersion = image().version;
      }
      return topicsVersion;
    },
    groupConfig: (groupId) => metadata.groupConfig(groupId),
    partitionCountOf: (topic) => image().topicsByName.get(topic)?.partitions.length ?? null,
    async offsetsLog(index) {
      const partition = await openCoordinatorPartition(topic, metadata, partitions, index);
      return {
        get batchBytesMax() {
          return partition.config.maxMessageBytes;
        },
        append: (records, writer) => appendRecords(partition, records, writer),
        appendMarker: (marker) => partition.appendMarker(marker),
        replay: (onto) => replayRecords(topic, partition, onto),
      };
    },
  };
}
