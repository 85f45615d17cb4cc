import { describe, expect, test } from "bun:test";
import { deferred } from "../../src/lib/deferred.ts";
import { Metadata } from "../../src/metadata/controller.ts";
import { ProducerIds } from "../../src/metadata/producer-ids.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { MemoryJournal } from "../support/memory-journal.ts";
import { metadataOptions, openMetadata, spec } from "../support/metadata.ts";

function codes(outcomes: readonly { errorCode: number }[]): number[] {
  return outcomes.map(({ errorCode }) => errorCode);
}

describe("metadata", () => {
  test("names a cluster once and finds it again", async () => {
    const journal = new MemoryJournal();
    const first = await openMetadata({ journal });
    const { clusterId } = first.image;
    expect(clusterId).not.toBe("");
    const entries = journal.entries.length;
    const again = await openMetadata({ journal });
    expect(again.image.clusterId).toBe(clusterId);
    expect(journal.entries.length).toBe(entries);
    expect(openMetadata({ journal, clusterId: "other" })).rejects.toThrow(/belongs to cluster/);
    const broker = { ...metadataOptions().broker, id: 2 };
    expect(openMetadata({ journal, broker })).rejects.toThrow(/set node.id back to 1/);
  });

  test("everything is there again after a restart", async () => {
    const journal = new MemoryJournal();
    const first = await openMetadata({ journal });
    await first.createTopics([spec("a", 3), spec("b")], false);
    await first.createPartitions([{ name: "b", count: 4, assignments: null }], false);
    const set = { name: "retention.ms", kind: "set", value: "1000" } as const;
    const alteration = {
      resource: "topic",
      name: "a",
      operations: [set],
      replacesAll: false,
    } as const;
    expect(codes(await first.alterConfigs([alteration], false))).toEqual([0]);
    await first.allocateProducerIds(1000);
    await first.bumpLeaderEpochs();
    const again = await openMetadata({ journal });
    expect(again.image).toEqual(first.image);
    expect(again.topicConfig("a").retentionMs).toBe(1000);
    expect(again.image.topicsByName.get("b")?.partitions[3]?.leaderEpoch).toBe(1);
  });

  test("a topic is usable when its creation resolves, and not before", async () => {
    const metadata = await openMetadata();
    const opened = deferred<void>();
    const seen: boolean[] = [];
    metadata.subscribe(async ({ next }) => {
      const id = next.topicsByName.get("a")?.id ?? "";
      seen.push(metadata.isUsable(id));
      await opened.promise;
    });
    let done = false;
    const created = metadata.createTopics([spec("a")], false).then((outcomes) => {
      done = true;
      return outcomes;
    });
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(seen).toEqual([false]);
    expect(done).toBe(false);
    opened.resolve();
    const [outcome] = await created;
    expect(metadata.isUsable(outcome?.topic?.id ?? "")).toBe(true);
  });

  test("a change that is not durable did not happen", async () => {
    const journal = new MemoryJournal();
    const metadata = await openMetadata({ journal });
    journal.failing = true;
    const [outcome] = await metadata.createTopics([spec("a")], false);
    expect(outcome?.errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    expect(metadata.image.topicsByName.size).toBe(0);
    expect(metadata.allocateProducerIds(10)).rejects.toThrow(/no space/);
    await metadata.settled();
    journal.failing = false;
    expect(codes(await metadata.createTopics([spec("a")], false))).toEqual([0]);
  });

  test("the same name, asked for twice at a time, is created once", async () => {
    const metadata = await openMetadata();
    const both = await Promise.all([
      metadata.createTopics([spec("a")], false),
      metadata.createTopics([spec("a")], false),
    ]);
    expect(codes(both.flat())).toEqual([0, ErrorCode.TOPIC_ALREADY_EXISTS]);
  });

  test("a topic deleted and made again has another id; its tombstone stays a while", async () => {
    const metadata = await openMetadata();
    const [first] = await metadata.createTopics([spec("a")], false);
    const id = first?.topic?.id ?? "";
    expect(codes(await metadata.deleteTopics([id, "x"]))).toEqual([0, ErrorCode.UNKNOWN_TOPIC_ID]);
    const [second] = await metadata.createTopics([spec("a")], false);
    expect(second?.topic?.id).not.toBe(id);
    expect([...metadata.image.tombstones.keys()]).toEqual([id]);
    await metadata.topicDeletionFinished(id);
    expect(metadata.image.tombstones.size).toBe(0);
  });

  const names: [string, number][] = [
    ["", ErrorCode.INVALID_TOPIC_EXCEPTION],
    [".", ErrorCode.INVALID_TOPIC_EXCEPTION],
    ["..", ErrorCode.INVALID_TOPIC_EXCEPTION],
    ["a/b", ErrorCode.INVALID_TOPIC_EXCEPTION],
    ["a b", ErrorCode.INVALID_TOPIC_EXCEPTION],
    ["ü", ErrorCode.INVALID_TOPIC_EXCEPTION],
    ["a\u0000", ErrorCode.INVALID_TOPIC_EXCEPTION],
    ["x".repeat(250), ErrorCode.INVALID_TOPIC_EXCEPTION],
    ["x".repeat(249), ErrorCode.NONE],
    ["...", ErrorCode.NONE],
    ["a.b", ErrorCode.NONE],
    ["a_b", ErrorCode.INVALID_TOPIC_EXCEPTION],
    ["__proto__", ErrorCode.NONE],
  ];
  test("hostile and colliding names", async () => {
    const metadata = await openMetadata();
    for (const [name, code] of names) {
      const [outcome] = await metadata.createTopics([spec(name)], false);
      expect([name, outcome?.errorCode]).toEqual([name, code]);
    }
  });

  test("numbers of partitions and replicas", async () => {
    const metadata = await openMetadata({ numPartitions: 3 });
    const create = async (changes: object): Promise<number | undefined> => {
      const [outcome] = await metadata.createTopics([{ ...spec("t"), ...changes }], true);
      return outcome?.errorCode;
    };
    expect(await create({ numPartitions: 0 })).toBe(ErrorCode.INVALID_PARTITIONS);
    expect(await create({ numPartitions: -2 })).toBe(ErrorCode.INVALID_PARTITIONS);
    expect(await create({ numPartitions: 101 })).toBe(ErrorCode.POLICY_VIOLATION);
    expect(await create({ numPartitions: 2 ** 31 - 1 })).toBe(ErrorCode.POLICY_VIOLATION);
    expect(await create({ replicationFactor: 2 })).toBe(ErrorCode.INVALID_REPLICATION_FACTOR);
    expect(await create({ replicationFactor: 0 })).toBe(ErrorCode.INVALID_REPLICATION_FACTOR);
    const manual = { numPartitions: -1, replicationFactor: -1 };
    const at = (partitionIndex: number, ...brokerIds: number[]) => ({ partitionIndex, brokerIds });
    const { INVALID_REPLICA_ASSIGNMENT, INVALID_REQUEST } = ErrorCode;
    expect(await create({ assignments: [at(0, 1)] })).toBe(INVALID_REQUEST);
    expect(await create({ ...manual, assignments: [at(0, 1), at(1, 1)] })).toBe(0);
    for (const assignments of [
      [at(1, 1)],
      [at(0, 1), at(0, 1)],
      [at(0)],
      [at(0, 7)],
      [at(0, 1, 1)],
    ]) {
      expect(await create({ ...manual, assignments })).toBe(INVALID_REPLICA_ASSIGNMENT);
    }
    expect(metadata.image.topicsByName.size).toBe(0);
    const [made] = await metadata.createTopics([{ ...spec("t"), ...manual }], false);
    expect(made?.topic?.partitions.length).toBe(3);
  });

  test("the limit of all partitions counts the topics of one request together", async () => {
    const limits = { partitionsPerTopicMax: 100, partitionsMax: 10 };
    const metadata = await openMetadata({ limits });
    const outcomes = await metadata.createTopics([spec("a", 6), spec("b", 6), spec("c", 4)], false);
    expect(codes(outcomes)).toEqual([0, ErrorCode.POLICY_VIOLATION, 0]);
    const more = await metadata.createPartitions(
      [{ name: "a", count: 7, assignments: null }],
      false,
    );
    expect(codes(more)).toEqual([ErrorCode.POLICY_VIOLATION]);
  });

  test("the journal is compacted to a snapshot that says the same", async () => {
    const journal = new MemoryJournal();
    const metadata = await openMetadata({ journal });
    for (let count = 0; count < 1100; count++) await metadata.allocateProducerIds(1);
    await metadata.createTopics([spec("a", 2)], false);
    expect(journal.compactions).toBe(1);
    expect(journal.entries.length).toBeLessThan(110);
    expect((await openMetadata({ journal })).image).toEqual(metadata.image);
  });

  test("a broken journal is refused by name", async () => {
    const journal = new MemoryJournal();
    journal.entries.push(new TextEncoder().encode('{"v":1,"commands":[{"type":"topic-deleted"}]}'));
    expect(Metadata.open(metadataOptions({ journal }))).rejects.toThrow(/cannot be read/);
  });
});

describe("producer ids", () => {
  test("are unique over restarts and come in blocks", async () => {
    const journal = new MemoryJournal();
    const seen = new Set<number>();
    for (let start = 0; start < 3; start++) {
      const ids = new ProducerIds(await openMetadata({ journal }));
      const many = await Promise.all(Array.from({ length: 1500 }, () => ids.next()));
      for (const { producerId } of many) seen.add(producerId);
    }
    expect(seen.size).toBe(4500);
    expect(journal.entries.length).toBeLessThan(10);
  });
});
