/** What comes back where the backup is gone as well, and where archives are. */
import { expect, test } from "bun:test";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type FoundArchive, planFromManifests, refusal } from "../../src/backup/manifest-plan.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { Kafka } from "../broker/kafka.ts";
import { registrySegments, untilAllArchived } from "../support/archives.ts";
import { brokerExists } from "../support/broker-process.ts";
import { startBackedBroker } from "../support/local-backup.ts";
import { untilBackedUp } from "../support/restore-process.ts";

const isCi = process.env["CI"] === "true";
const id = (n: number) => `AAAAAAAAAAAAAAAAAAAAA${"AQgw"[n]}`;

function archive(base: number, last: number, changes: Partial<FoundArchive> = {}): FoundArchive {
  const generation = changes.generation ?? 1;
  return {
    topic: "t",
    topicId: id(0),
    partition: 0,
    base,
    last,
    records: last - base + 1,
    minTimestamp: 0,
    maxTimestamp: 0,
    rawBytes: 1,
    documents: 0,
    aborted: 0,
    index: "none",
    createdMs: 1,
    tocPosition: 1,
    epochs: [],
    producers: [],
    key: `tantivy_indexes/t/partition-0/segment-${base}-${last}.g${generation}-x.tar.gz`,
    bytes: 1,
    ...changes,
    generation,
  };
}

test("the highest generation wins over what it covers; conflicts and holes are told", () => {
  const { topics, remarks } = planFromManifests([
    archive(0, 9),
    archive(10, 19),
    archive(0, 19, { generation: 2 }),
    archive(15, 25),
    archive(30, 39),
    archive(5, 5, { topicId: id(1), createdMs: 0 }),
  ]);
  expect(topics).toHaveLength(1);
  expect(topics[0]?.id).toBe(id(0));
  expect(topics[0]?.partitions.get(0)?.map(({ base, last }) => [base, last])).toEqual([
    [0, 19],
    [30, 39],
  ]);
  const told = (part: string) => remarks.filter((remark) => remark.includes(part)).length;
  expect(told("is superseded by")).toBe(2);
  expect(told("conflicts with")).toBe(1);
  expect(told("no archive of offsets 20 to 29")).toBe(1);
  expect(told(`${id(1)} is older`)).toBe(1);
});

test("an archive that lies about itself is refused", () => {
  expect(refusal(archive(0, 9))).toBeNull();
  expect(refusal(archive(0, 9, { topic: "../etc" }))).toContain("name");
  expect(refusal(archive(0, 9, { topicId: "x" }))).toContain("id");
  expect(refusal(archive(9, 0))).toContain("no sense");
  expect(refusal(archive(0, 9, { partition: 2 ** 40 }))).toContain("no sense");
  expect(refusal(archive(0, 9, { topic: "other" }))).toContain("says that it is of other-0");
});

test.skipIf(!isCi && !brokerExists)(
  "the archives alone bring topics back under their ids",
  async () => {
    await using backed = await startBackedBroker();
    const { broker, objects } = backed;
    const kafka = await Kafka.connect(broker.kafkaPort);
    await kafka.createTopic("alone");
    await kafka.append("alone", 0, ["a", "b"]);
    await untilAllArchived(broker);
    await kafka.append("alone", 0, ["c"]);
    await untilAllArchived(broker);
    await kafka.commit("group", "alone", 2);
    const [segment] = await registrySegments(broker);
    await untilBackedUp(broker);
    kafka.close();
    await backed.loseDisk();
    // With the backup a missing object is told, and its offsets only are refused.
    const first = join(objects, "alone/partition-0/segment-0-1.tar.gz");
    renameSync(first, `${first}.away`);
    const partly = await backed.restore();
    expect([partly.code, partly.err]).toEqual([0, ""]);
    expect(partly.out).toContain(
      "alone-0 offsets 0 to 1) is missing: its offsets are in quarantine",
    );
    expect(partly.out).toContain("1 of 2 archives are there");
    await broker.restart();
    const damaged = await Kafka.connect(broker.kafkaPort);
    expect((await damaged.fetchAt("alone", 0, 0)).errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    expect(await damaged.values("alone", 0, 2)).toEqual(["c"]);
    expect(await damaged.committed("group", "alone")).toBe(2);
    damaged.close();
    await backed.loseDisk();
    renameSync(`${first}.away`, first);
    // Without it the archives tell.
    rmSync(join(objects, "=meta"), { recursive: true });
    writeFileSync(
      join(objects, "alone/partition-0/segment-9-9.tar.gz"),
      "no archive at all".repeat(9),
    );
    const without = await backed.restore();
    expect([without.code, without.err]).toEqual([1, expect.stringContaining("--from-manifests")]);
    const { code, out, err } = await backed.restore(["--from-manifests", "--cluster-id", "kept"]);
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain("deleted topics and records may come back");
    expect(out).toContain("segment-9-9.tar.gz is not used");
    await broker.restart();
    const again = await Kafka.connect(broker.kafkaPort);
    expect(await again.values("alone", 0)).toEqual(["a", "b", "c"]);
    expect((await registrySegments(broker))[0]).toMatchObject({ topic_id: segment?.topic_id });
    expect(await again.append("alone", 0, ["d"])).toBe(3);
    await untilAllArchived(broker);
    expect(await again.values("alone", 0)).toEqual(["a", "b", "c", "d"]);
    again.close();
  },
  120_000,
);
