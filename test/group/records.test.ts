import { expect, test } from "bun:test";
import fc from "fast-check";
import type { GroupSnapshot } from "../../src/group/group-types.ts";
import type { CommittedOffset } from "../../src/group/offsets.ts";
import { javaHash, partitionForGroup } from "../../src/group/partition-hash.ts";
import { decodeRecord, encodeGroup, encodeOffset } from "../../src/group/records.ts";
import { ProtocolError } from "../../src/lib/errors.ts";
import { uuidFromBytes, zeroUuid } from "../../src/protocol/uuid.ts";
import kafkaRecords from "../golden/group-records.json" with { type: "json" };
import { Harness, MemoryOffsetsLog, MemoryTopics } from "./harness.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));

const committed: CommittedOffset = {
  offset: 42,
  leaderEpoch: 3,
  metadata: "me",
  commitTimestampMs: 1000,
  expireTimestampMs: -1,
  topicId: uuidFromBytes(new Uint8Array(16).fill(7)),
};

test("an offset is written as Kafka writes it: key type 1, value version 4", () => {
  const record = encodeOffset("grp", "top", 2, committed, 5);
  expect(hex(record.key)).toBe("0001" + "0003677270" + "0003746f70" + "00000002");
  expect(hex(record.value!)).toBe(
    "0004" +
      "000000000000002a" +
      "00000003" +
      "036d65" +
      "00000000000003e8" +
      "010010" +
      "07".repeat(16),
  );
  expect(encodeOffset("grp", "top", 2, null, 5).value).toBeNull();
});

test("an offset with an expiry of its own is written in version 1", () => {
  const record = encodeOffset("grp", "top", 2, { ...committed, expireTimestampMs: 9 }, 5);
  expect(hex(record.value!)).toBe(
    "0001" + "000000000000002a" + "00026d65" + "00000000000003e8" + "0000000000000009",
  );
  const decoded = decodeRecord(record.key, record.value);
  expect(decoded).toMatchObject({
    value: { expireTimestampMs: 9, topicId: zeroUuid, leaderEpoch: -1 },
  });
});

test("a group is written as Kafka writes it: key type 2, value version 3", () => {
  const snapshot: GroupSnapshot = {
    protocolType: "consumer",
    generationId: 5,
    protocolName: "range",
    leader: "m",
    stateTimestampMs: 1000,
    members: [
      {
        memberId: "m",
        groupInstanceId: null,
        clientId: "c",
        clientHost: "/h",
        rebalanceTimeoutMs: 60_000,
        sessionTimeoutMs: 10_000,
        subscription: bytes("0102"),
        assignment: bytes("03"),
      },
    ],
  };
  const record = encodeGroup("grp", snapshot, 5);
  expect(hex(record.key)).toBe("0002" + "0003677270");
  expect(hex(record.value!)).toBe(
    "0003" +
      "0008636f6e73756d6572" +
      "00000005" +
      "000572616e6765" +
      "00016d" +
      "00000000000003e8" +
      "00000001" +
      "00016d" +
      "ffff" +
      "000163" +
      "00022f68" +
      "0000ea60" +
      "00002710" +
      "000000020102" +
      "0000000103",
  );
  expect(decodeRecord(record.key, record.value)).toEqual({
    kind: "group",
    groupId: "grp",
    value: snapshot,
  });
});

test("older and foreign records are read for what they are", () => {
  // Type 0, the first form of an offset's key; value version 0 had no epoch.
  const key = bytes("0000" + "000167" + "000174" + "00000001");
  const value = bytes("0000" + "0000000000000009" + "0000" + "0000000000000001");
  expect(decodeRecord(key, value)).toMatchObject({
    kind: "offset",
    value: { offset: 9, leaderEpoch: -1 },
  });
  // Version 1 of a group has no instance ids; no rebalance timeout stands for the session timeout.
  const group = bytes(
    "0001" +
      "000163" +
      "00000001" +
      "000172" +
      "00016d" +
      "00000001" +
      "00016d" +
      "000163" +
      "000168" +
      "ffffffff" +
      "00000007" +
      "00000000" +
      "00000000",
  );
  expect(decodeRecord(bytes("0002000167"), group)).toMatchObject({
    value: { members: [{ rebalanceTimeoutMs: 7, groupInstanceId: null }], stateTimestampMs: -1 },
  });
  expect(decodeRecord(bytes("0003000167"), bytes("0000"))).toEqual({
    kind: "other",
    recordType: 3,
  });
});

test("bytes that lie are refused", () => {
  const { key, value } = encodeOffset("grp", "top", 2, committed, 5);
  expect(() => decodeRecord(key, bytes("0009"))).toThrow(ProtocolError);
  expect(() => decodeRecord(key.subarray(0, 6), value)).toThrow(ProtocolError);
  expect(() => decodeRecord(key, value!.subarray(0, 9))).toThrow(ProtocolError);
  expect(() => decodeRecord(bytes("00"), null)).toThrow(ProtocolError);
});

test("every offset comes back as it was", () => {
  const text = fc.string({ maxLength: 50 });
  const offset = fc.record({
    offset: fc.nat(),
    leaderEpoch: fc.integer({ min: -1, max: 100 }),
    metadata: text,
    commitTimestampMs: fc.nat(),
    expireTimestampMs: fc.constant(-1),
    topicId: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((id) => uuidFromBytes(id)),
  });
  fc.assert(
    fc.property(text, text, fc.nat(), offset, (groupId, topic, partition, value) => {
      const record = encodeOffset(groupId, topic, partition, value, 1);
      expect(decodeRecord(record.key, record.value)).toEqual({
        kind: "offset",
        groupId,
        topic,
        partition,
        value,
      });
    }),
  );
});

test("groups go to the partitions Kafka puts them in", () => {
  // Values of java.lang.String.hashCode.
  expect(javaHash("")).toBe(0);
  expect(javaHash("Hello, World!")).toBe(1498789909);
  expect(javaHash("polygenelubricants")).toBe(-2147483648);
  expect(partitionForGroup("polygenelubricants", 50)).toBe(0);
  expect(partitionForGroup("Hello, World!", 50)).toBe(9);
});

test("what Kafka 4.3.1 wrote is written the same, and its group comes back", async () => {
  const log = new MemoryOffsetsLog();
  const groupIds = new Set<string>();
  const seen = { offset: 0, group: 0, other: 0 };
  for (const record of kafkaRecords) {
    const key = bytes(record.key);
    const value = record.value === null ? null : bytes(record.value);
    log.durable.push({ key, value, timestamp: 0 });
    const decoded = decodeRecord(key, value);
    seen[decoded.kind]++;
    if (decoded.kind === "other") continue;
    groupIds.add(decoded.groupId);
    const { groupId } = decoded;
    const again =
      decoded.kind === "group"
        ? encodeGroup(groupId, decoded.value, 0)
        : encodeOffset(groupId, decoded.topic, decoded.partition, decoded.value, 0);
    expect([hex(again.key), again.value && hex(again.value)]).toEqual([record.key, record.value]);
  }
  expect(seen.offset).toBeGreaterThan(0);
  expect(seen.group).toBeGreaterThan(0);
  expect(seen.other).toBeGreaterThan(0);

  // As a broker finds it that starts at three moments of that log: joined, left, deleted.
  const states: string[] = [];
  const wrote = log.durable.findIndex((one) => one.value !== null && one.key[1] === 1);
  const deleted = log.durable.findIndex((one) => one.value === null && one.key[1] === 2);
  for (const count of [wrote, deleted - 3, deleted + 1]) {
    const topics = new MemoryTopics(1);
    topics.log(0).durable.push(...log.durable.slice(0, count));
    await topics.offsetsLog(0);
    const world = new Harness({}, topics);
    await world.groups.start();
    expect(world.problems).toEqual([]);
    const described = await world.groups.describeGroup("golden-classic");
    states.push(`${described.state} ${described.protocolType} ${described.members.length}`);
  }
  expect(states).toEqual(["Stable consumer 1", "Empty consumer 0", "Dead  0"]);
});
