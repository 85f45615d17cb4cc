import { Metadata, type MetadataOptions } from "../../src/metadata/controller.ts";
import { uuidFromBytes } from "../../src/protocol/uuid.ts";
import { MemoryJournal } from "./memory-journal.ts";

/** Uuids 1, 2, 3 …, so that a failing test says the same thing twice. */
export function countingUuids(): () => string {
  let next = 1;
  return () => {
    const bytes = new Uint8Array(16);
    new DataView(bytes.buffer).setUint32(12, next++);
    return uuidFromBytes(bytes);
  };
}

export function metadataOptions(changes: Partial<MetadataOptions> = {}): MetadataOptions {
  return {
    journal: new MemoryJournal(),
    broker: {
      id: 1,
      rack: null,
      endpoints: [{ listener: "PLAINTEXT", host: "localhost", port: 9092 }],
    },
    clusterId: null,
    staticConfigs: new Map(),
    numPartitions: 1,
    replicationFactor: 1,
    limits: { partitionsPerTopicMax: 100, partitionsMax: 1000 },
    newUuid: countingUuids(),
    onWarning: () => {},
    ...changes,
  };
}

export function openMetadata(changes: Partial<MetadataOptions> = {}): Promise<Metadata> {
  return Metadata.open(metadataOptions(changes));
}

/** A topic as CreateTopics would ask for it. */
export function spec(name: string, numPartitions = 1, configs: [string, string | null][] = []) {
  return { name, numPartitions, replicationFactor: 1, assignments: [], configs };
}
