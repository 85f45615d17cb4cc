/** What was answered survives the end of the process; log, archive and groups go on after it. */
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { busyTierArgs, untilAllArchived, walPartitions } from "../support/archives.ts";
import { startBroker, until } from "../support/broker-process.ts";
import { batchOf, Kafka } from "./kafka.ts";

const words = Array.from({ length: 40 }, (_, at) => `value ${at}`);

test("topics, records and committed offsets survive kill -9", async () => {
  await using broker = await startBroker();
  const before = await Kafka.connect(broker.kafkaPort);
  await before.createTopic("kept", 3);
  await before.append("kept", 1, words);
  for (const offset of [1, 7, 23]) await before.commit("readers", "kept", offset);
  await broker.kill9();
  await broker.restart();
  const after = await Kafka.connect(broker.kafkaPort);
  expect(await after.values("kept", 1)).toEqual(words);
  expect(await after.committed("readers", "kept")).toBe(23);
  expect(await after.committed("strangers", "kept")).toBe(-1);
  expect((await after.fetchAt("kept", 2, 0)).errorCode).toBe(ErrorCode.NONE);
  expect((await after.fetchAt("kept", 3, 0)).errorCode).not.toBe(ErrorCode.NONE);
});

test("the newest commit wins over many restarts", async () => {
  await using broker = await startBroker();
  for (let round = 1; round <= 3; round++) {
    const kafka = await Kafka.connect(broker.kafkaPort);
    if (round === 1) await kafka.createTopic("kept");
    else expect(await kafka.committed("readers", "kept")).toBe((round - 1) * 10);
    await kafka.commit("readers", "kept", round * 10 - 1);
    await kafka.commit("readers", "kept", round * 10);
    await (round === 2 ? broker.stop() : broker.kill9());
    await broker.restart();
  }
});

test("a recreated topic never shows the old one's records, from WAL or archive", async () => {
  await using broker = await startBroker({ args: busyTierArgs });
  let kafka = await Kafka.connect(broker.kafkaPort);
  for (let life = 0; life < 3; life++) {
    await kafka.createTopic("phoenix", 2);
    const mine = words.map((word) => `life ${life} ${word}`);
    expect(await kafka.values("phoenix", 0)).toEqual([]);
    await kafka.append("phoenix", 0, mine);
    // The first life ends in the archive, the second in the WAL.
    if (life === 0) await untilAllArchived(broker);
    expect(await kafka.values("phoenix", 0)).toEqual(mine);
    if (life < 2) await kafka.deleteTopic("phoenix");
    await broker.kill9();
    await broker.restart();
    kafka = await Kafka.connect(broker.kafkaPort);
  }
  await untilAllArchived(broker);
  expect(await kafka.values("phoenix", 0)).toEqual(words.map((word) => `life 2 ${word}`));
  await kafka.deleteTopic("phoenix");
  await until("nothing is left of the topic", 20_000, () => {
    const objects = join(broker.dataDir, "tantivy_indexes/phoenix/partition-0");
    const left = existsSync(objects) ? readdirSync(objects) : [];
    return left.length === 0 && !existsSync(join(broker.dataDir, "wal/phoenix"));
  });
}, 90_000);

test("the log start that DeleteRecords moved stays, and offsets go on", async () => {
  await using broker = await startBroker({ args: busyTierArgs });
  const kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic("trimmed");
  await kafka.append("trimmed", 0, words);
  await untilAllArchived(broker);
  await kafka.append("trimmed", 0, words);
  expect(await kafka.deleteRecords("trimmed", 0, 55)).toBe(55);
  await broker.kill9();
  await broker.restart();
  const after = await Kafka.connect(broker.kafkaPort);
  expect((await after.listOffset("trimmed", 0, -2)).offset).toBe(55);
  expect((await after.fetchAt("trimmed", 0, 54)).errorCode).toBe(ErrorCode.OFFSET_OUT_OF_RANGE);
  expect(await after.values("trimmed", 0, 55)).toEqual(words.slice(15));
  expect(await after.deleteRecords("trimmed", 0, -1)).toBe(80);
  await broker.kill9();
  await broker.restart();
  const last = await Kafka.connect(broker.kafkaPort);
  expect((await last.listOffset("trimmed", 0, -2)).offset).toBe(80);
  expect(await last.append("trimmed", 0, ["next"])).toBe(80);
}, 60_000);

test("a batch sent again is not stored again, after restarts and out of the archive", async () => {
  await using broker = await startBroker({ args: busyTierArgs });
  let kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic("once");
  const producerId = await kafka.producerId();
  const batches = Array.from({ length: 7 }, (_, at) =>
    batchOf([`a${at}`, `b${at}`], { producerId, producerEpoch: 0, baseSequence: at * 2 }),
  );
  for (const batch of batches) {
    expect((await kafka.produce("once", 0, batch)).errorCode).toBe(ErrorCode.NONE);
  }
  const again = async () => {
    for (const at of [2, 3, 4, 5, 6]) {
      const answer = await kafka.produce("once", 0, batches[at] ?? null);
      expect(answer).toMatchObject({ errorCode: ErrorCode.NONE, baseOffset: at * 2 });
    }
    const gap = batchOf(["gap"], { producerId, producerEpoch: 0, baseSequence: 100 });
    const { errorCode } = await kafka.produce("once", 0, gap);
    expect(errorCode).toBe(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
  };
  await again();
  await broker.kill9();
  await broker.restart();
  kafka = await Kafka.connect(broker.kafkaPort);
  await again();
  await untilAllArchived(broker);
  await again();
  for (const end of [() => broker.kill9(), () => broker.stop()]) {
    await end();
    await broker.restart();
    kafka = await Kafka.connect(broker.kafkaPort);
    await again();
  }
  expect((await kafka.listOffset("once", 0, -1)).offset).toBe(14);
  expect(await kafka.producerId()).toBeGreaterThan(producerId);
}, 60_000);

test("memory for appends is given back: far more than the limit goes through", async () => {
  await using broker = await startBroker({ args: ["-X", "wal.queue_bytes_max=1MiB"] });
  const kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic("flow", 2);
  const good = batchOf(["g".repeat(100_000)]);
  const bad = Buffer.from(good);
  bad.writeUInt32BE(0, 17);
  const rounds = 20;
  for (let round = 0; round < rounds; round++) {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, at) =>
        kafka.produce("flow", at % 2, at % 4 === 3 ? bad : good).then(({ errorCode }) => errorCode),
      ),
    );
    for (const [at, errorCode] of answers.entries()) {
      expect(errorCode).toBe(at % 4 === 3 ? ErrorCode.CORRUPT_MESSAGE : ErrorCode.NONE);
    }
  }
  expect((await kafka.listOffset("flow", 0, -1)).offset).toBe(rounds * 10);
  expect((await kafka.listOffset("flow", 1, -1)).offset).toBe(rounds * 5);
}, 60_000);

test("a failing store leaves the WAL; when it works again all is archived", async () => {
  await using broker = await startBroker({ args: busyTierArgs });
  const kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic("kept");
  // A file where a folder is wanted.
  const blocked = join(broker.dataDir, "tantivy_indexes/kept");
  mkdirSync(dirname(blocked), { recursive: true });
  writeFileSync(blocked, "");
  await kafka.append("kept", 0, words);
  await until("an archive failed", 20_000, () => broker.log().includes("indexer step failed"));
  await broker.kill9();
  await broker.restart();
  const after = await Kafka.connect(broker.kafkaPort);
  expect(await after.values("kept", 0)).toEqual(words);
  const wal = (await walPartitions(broker)).find(({ topic }) => topic === "kept");
  expect(wal?.segments.length).toBeGreaterThan(0);
  rmSync(blocked);
  await untilAllArchived(broker);
  expect(await after.values("kept", 0)).toEqual(words);
}, 60_000);
