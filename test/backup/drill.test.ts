/** A lost disk (design D9): what was archived and backed up comes back, and nothing else. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Kafka as KafkaJs, logLevel } from "kafkajs";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { buildBatch } from "../../src/protocol/records.ts";
import { Kafka } from "../broker/kafka.ts";
import { registrySegments, untilAllArchived, walPartitions } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { runRestore, untilBackedUp } from "../support/restore-process.ts";
import {
  accessKey,
  type S3Server,
  s3SkipReason,
  secretKey,
  startS3,
} from "../support/s3-server.ts";

const isCi = process.env["CI"] === "true";

test.skipIf(!isCi && s3SkipReason !== null)("there is an S3 server", () => {
  expect(s3SkipReason).toBeNull();
});

const values = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => `value ${from + i}`);

describe.skipIf(s3SkipReason !== null)("with a bucket", () => {
  let server: S3Server;
  let broker: BrokerProcess;
  const environment = () => ({
    OBJECT_STORE_BACKEND: "s3",
    S3_ENDPOINT: server.endpoint,
    S3_REGION: "us-east-1",
    S3_BUCKET: server.bucket,
    S3_ACCESS_KEY: accessKey,
    S3_SECRET_KEY: secretKey,
    S3_PREFIX: "drill",
  });
  const args = [
    // Nothing is archived but on demand.
    ["--wal-indexing-interval", "3600"],
    ["-X", "min_segment_age_secs=0"],
    ["-X", "backup.interval=1"],
    ["-X", "group.initial.rebalance.delay.ms=0"],
  ].flat();
  const js = () =>
    new KafkaJs({ brokers: [broker.bootstrap], logLevel: logLevel.NOTHING, clientId: "drill" });

  const idempotent = (producerId: number, sequence: number, value: string) =>
    buildBatch(
      [
        {
          offsetDelta: 0,
          timestamp: Date.now(),
          key: null,
          value: Buffer.from(value),
          headers: [],
        },
      ],
      { producerId, producerEpoch: 0, baseSequence: sequence },
      crc32c,
    );

  async function topicIds(): Promise<Record<string, string>> {
    const { topics } = (await (await fetch(`${broker.adminUrl}/admin/topics`)).json()) as {
      topics: { name: string; topic_id: string }[];
    };
    return Object.fromEntries(topics.map((topic) => [topic.name, topic.topic_id]));
  }

  async function inTransaction(commit: boolean, value: string, offset: string): Promise<void> {
    const producer = js().producer({ transactionalId: "drill", maxInFlightRequests: 1 });
    await producer.connect();
    const transaction = await producer.transaction();
    await transaction.send({ topic: "outputs", messages: [{ value }] });
    const topics = [{ topic: "orders", partitions: [{ partition: 0, offset }] }];
    await transaction.sendOffsets({ consumerGroupId: "exactly", topics });
    await (commit ? transaction.commit() : transaction.abort());
    await producer.disconnect();
  }

  beforeAll(async () => {
    server = await startS3();
    broker = await startBroker({ args, env: environment() });
  }, 600_000);
  afterAll(async () => {
    await broker?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  let ids: Record<string, string> = {};
  let archives: string[] = [];
  let producerId = -1;

  /** A life that is backed up, and a disk that is lost. */
  async function live(): Promise<void> {
    const kafka = await Kafka.connect(broker.kafkaPort);
    for (const topic of ["orders", "outputs", "doomed", "reborn"]) await kafka.createTopic(topic);
    producerId = await kafka.producerId();
    for (let at = 0; at < 1_000; at += 100) await kafka.append("orders", 0, values(at, at + 100));
    await kafka.append("doomed", 0, values(0, 10));
    await kafka.append("reborn", 0, ["old"]);
    await inTransaction(true, "committed", "500");
    await inTransaction(false, "aborted", "600");
    for (let n = 0; n < 3; n++)
      await kafka.produce("outputs", 0, idempotent(producerId, n, `i${n}`));
    await untilAllArchived(broker);
    await kafka.deleteTopic("doomed");
    await kafka.deleteTopic("reborn");
    await kafka.createTopic("reborn");
    await kafka.append("reborn", 0, ["new"]);
    await untilAllArchived(broker);
    await kafka.deleteRecords("orders", 0, 100);
    await kafka.commit("inside", "orders", 700);
    // These never leave the WAL.
    await kafka.append("orders", 0, values(1_000, 1_050));
    await kafka.commit("ahead", "orders", 1_040);
    ids = await topicIds();
    archives = (await registrySegments(broker)).map(({ key }) => key).sort();
    await untilBackedUp(broker);
    kafka.close();
    await broker.kill9();
    rmSync(broker.dataDir, { recursive: true });
    expect(ids["doomed"]).toBeUndefined();
    expect(archives.length).toBeGreaterThan(2);
  }

  test("a restore refuses a folder with data, by name", async () => {
    const full = join(broker.dataDir, "../full");
    await Bun.write(join(full, "metadata/journal_0.log"), "x");
    const { code, err } = await runRestore(["--data-dir", full], environment());
    expect([code, err]).toEqual([1, expect.stringContaining("CHRONIK_DATA_DIR_NOT_EMPTY")]);
    expect(err).toContain("holds metadata");
  }, 60_000);

  /** Everything that was archived is there, and the groups go on. */
  async function restored(): Promise<void> {
    const { code, out, err } = await runRestore(["--data-dir", broker.dataDir], environment());
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain("lost: orders-0 offsets 1000 to 1049");
    expect(out).toContain("50 offsets known at");
    expect(existsSync(join(broker.dataDir, "restoring"))).toBe(false);
    await broker.restart();
    const kafka = await Kafka.connect(broker.kafkaPort);
    expect(await topicIds()).toEqual(ids);
    expect((await registrySegments(broker)).map(({ key }) => key).sort()).toEqual(archives);
    expect((await walPartitions(broker)).filter(({ damage }) => damage !== null)).toEqual([]);
    expect(await kafka.values("orders", 0, 100)).toEqual(values(100, 1_000));
    expect(await kafka.values("reborn", 0)).toEqual(["new"]);
    const earliest = await kafka.listOffset("orders", 0, -2);
    expect(earliest.offset).toBe(100);
    expect((await kafka.listOffset("orders", 0, -1)).offset).toBe(1_000);
    expect(await kafka.committed("inside", "orders")).toBe(700);
    expect(await kafka.committed("ahead", "orders")).toBe(1_000);
    expect(await kafka.committed("exactly", "orders")).toBe(500);
    // The leader epoch is above every one that was ever given.
    const [orders] = (await walPartitions(broker)).filter(({ topic }) => topic === "orders");
    expect(orders?.leader_epoch).toBeGreaterThan(1_000_000);
    expect(await kafka.producerId()).toBeGreaterThan(producerId + 1_000_000);
    kafka.close();
  }

  /** Producers go on: a retry is known, the next batch taken, transactions work. */
  async function goOn(): Promise<void> {
    const kafka = await Kafka.connect(broker.kafkaPort);
    const end = (await kafka.listOffset("outputs", 0, -1)).offset;
    const retry = await kafka.produce("outputs", 0, idempotent(producerId, 2, "i2"));
    expect([retry.errorCode, retry.baseOffset]).toEqual([ErrorCode.NONE, end - 1]);
    const next = await kafka.produce("outputs", 0, idempotent(producerId, 3, "i3"));
    expect([next.errorCode, next.baseOffset]).toEqual([ErrorCode.NONE, end]);
    await inTransaction(true, "after", "800");
    // The answer to a commit does not wait for the markers.
    await until("the offsets of the transaction count", 10_000, async () => {
      return (await kafka.committed("exactly", "orders")) === 800;
    });
    const consumer = js().consumer({ groupId: "exactly" });
    const seen: string[] = [];
    await consumer.connect();
    await consumer.subscribe({ topics: ["outputs"], fromBeginning: true });
    const done = Promise.withResolvers<void>();
    await consumer.run({
      eachMessage: async ({ message }) => {
        seen.push(message.value?.toString() ?? "");
        if (seen.at(-1) === "after") done.resolve();
      },
    });
    await done.promise;
    await consumer.disconnect();
    expect(seen).toEqual(["committed", "i0", "i1", "i2", "i3", "after"]);
    await kafka.append("orders", 0, values(1_000, 1_010));
    await untilAllArchived(broker);
    expect(await kafka.values("orders", 0, 100)).toEqual(values(100, 1_010));
    kafka.close();
  }

  /** A clean stop is backed up: a second loss loses nothing that was archived. */
  async function again(): Promise<void> {
    const kafka = await Kafka.connect(broker.kafkaPort);
    await kafka.commit("inside", "orders", 1_005);
    kafka.close();
    expect(await broker.stop()).toBe(0);
    rmSync(broker.dataDir, { recursive: true });
    const { code, out } = await runRestore(["--data-dir", broker.dataDir], environment());
    expect(code).toBe(0);
    expect(out).toContain("0 offsets known at");
    expect(readdirSync(broker.dataDir)).toContain("metadata");
    await broker.restart();
    const again = await Kafka.connect(broker.kafkaPort);
    expect(await again.values("orders", 0, 100)).toEqual(values(100, 1_010));
    expect(await again.committed("inside", "orders")).toBe(1_005);
    again.close();
  }

  test("live, lose, restore, go on, stop, lose again, restore again", async () => {
    await live();
    await restored();
    await goOn();
    await again();
  }, 400_000);
});
