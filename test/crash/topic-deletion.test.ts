/** A topic is deleted and made anew under its name, and the broker is killed at every step. */

import { describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { Kafka } from "../broker/kafka.ts";
import { busyTierArgs, registrySegments, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { unannouncedMoment } from "../support/moments.ts";
import { Random } from "../support/random.ts";

const bin = process.env["CHRONIK_TEST_BIN"] ?? join(import.meta.dir, "../../dist/chronik-test");
const points = ["topic-dropped", "topic-retired", "reap", "reaped", "topic-reaped"];
const topic = "again";
const old = ["old 0", "old 1", "old 2"];
const young = ["new 0", "new 1"];
const goneMsMax = 30_000;

/** Archives are made when they are asked for. */
const idleTierArgs = ["--wal-indexing-interval", "3600", "-X", "min_segment_age_secs=0"];
const runIndexer = ({ adminUrl }: BrokerProcess) =>
  fetch(`${adminUrl}/admin/indexer/run`, { method: "POST" });

function objects(broker: BrokerProcess): string[] {
  const folder = join(broker.dataDir, "tantivy_indexes");
  const found = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return found.filter((path) => path.endsWith(".tar.gz")).sort();
}

/** Three records in an archive and one in the WAL. */
async function fill(broker: BrokerProcess): Promise<void> {
  const kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic(topic);
  await kafka.append(topic, 0, old);
  await untilAllArchived(broker);
  await kafka.append(topic, 0, ["old 3"]);
  kafka.close();
}

async function deleteTopic(broker: BrokerProcess): Promise<void> {
  const kafka = await Kafka.connect(broker.kafkaPort);
  // The kill may come before the answer.
  await kafka.deleteTopic(topic).catch(() => undefined);
  kafka.close();
}

async function makeAnew(broker: BrokerProcess): Promise<void> {
  const kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic(topic);
  expect((await kafka.listOffset(topic, 0, -1)).offset).toBe(0);
  await kafka.append(topic, 0, young);
  expect(await kafka.values(topic, 0)).toEqual(young);
  kafka.close();
}

/** Only the new records, wherever they lie; and no object that the registry does not name. */
async function onlyNew(broker: BrokerProcess): Promise<void> {
  await untilAllArchived(broker);
  const kafka = await Kafka.connect(broker.kafkaPort);
  expect(await kafka.values(topic, 0)).toEqual(young);
  expect((await kafka.listOffset(topic, 0, -2)).offset).toBe(0);
  kafka.close();
  await until("the old objects are gone", goneMsMax, () => objects(broker).length === 1);
  const [segment, ...others] = await registrySegments(broker);
  expect(others).toEqual([]);
  expect(segment?.key).toBe(`tantivy_indexes/${objects(broker)[0]}`);
  const [state] = readdirSync(join(broker.dataDir, "wal")).filter((name) => name === topic);
  expect(state).toBe(topic);
  await until("the trash is empty", goneMsMax, () => {
    return readdirSync(join(broker.dataDir, "trash")).length === 0;
  });
}

describe("deleting a topic", () => {
  test.each(points)(
    "killed at %s, its name begins anew",
    async (point) => {
      await using broker = await startBroker({ bin, args: busyTierArgs });
      await fill(broker);
      await broker.restart({ CHRONIK_FP: `${point}=kill` });
      const ended = broker.exited();
      await deleteTopic(broker);
      expect(await ended).toBe(128 + 9);
      await broker.restart();
      await makeAnew(broker);
      await onlyNew(broker);
      await broker.restart();
      await onlyNew(broker);
    },
    60_000,
  );

  test.each(["verify", "register"])(
    "after a kill at %s, the archive that was put goes too",
    async (point) => {
      await using broker = await startBroker({ bin, args: idleTierArgs });
      for (const how of ["topic", "records"]) {
        await broker.restart({ CHRONIK_FP: `${point}=kill` });
        const kafka = await Kafka.connect(broker.kafkaPort);
        await kafka.createTopic(topic);
        await kafka.append(topic, 0, old);
        kafka.close();
        const ended = broker.exited();
        await runIndexer(broker).catch(() => undefined);
        expect(await ended).toBe(128 + 9);
        await broker.restart();
        expect([objects(broker).length, await registrySegments(broker)]).toEqual([1, []]);
        if (how === "records") {
          const again = await Kafka.connect(broker.kafkaPort);
          await again.append(topic, 0, ["old 3"]);
          await again.deleteRecords(topic, 0, old.length + 1);
          again.close();
          await runIndexer(broker);
        } else {
          await deleteTopic(broker);
        }
        await until("no object is left", goneMsMax, () => objects(broker).length === 0);
        expect(await registrySegments(broker)).toEqual([]);
      }
    },
    60_000,
  );

  test("killed at any moment, it is there as a whole or not at all", async () => {
    const random = Random.from("CHRONIK_CRASH_SEED");
    await using broker = await startBroker({ bin, args: busyTierArgs });
    for (let round = 0; round < 6; round++) {
      await fill(broker);
      const deletion = deleteTopic(broker);
      await unannouncedMoment(random, 0, 12);
      await broker.kill9();
      await deletion;
      await broker.restart();
      const kafka = await Kafka.connect(broker.kafkaPort);
      const { errorCode } = await kafka.fetchAt(topic, 0, 0);
      if (errorCode === 0) {
        expect(await kafka.values(topic, 0)).toEqual([...old, "old 3"]);
        await kafka.deleteTopic(topic);
      }
      kafka.close();
      await makeAnew(broker);
      await onlyNew(broker);
      await deleteTopic(broker);
      await until("all objects are gone", goneMsMax, () => objects(broker).length === 0);
    }
  }, 120_000);

  test("with the store away, the name is free at once and the old objects go later", async () => {
    await using broker = await startBroker({ bin, args: busyTierArgs });
    await fill(broker);
    const [name = ""] = objects(broker);
    const path = join(broker.dataDir, "tantivy_indexes", name);
    // A folder in the object's place: the store can neither read nor remove it.
    renameSync(path, `${path}.aside`);
    mkdirSync(join(path, "in-the-way"), { recursive: true });
    await deleteTopic(broker);
    await until("the store refused", goneMsMax, () => {
      return broker.log().includes("retired objects could not be deleted");
    });
    await makeAnew(broker);
    await untilAllArchived(broker);
    await broker.kill9();
    await broker.restart();
    const kafka = await Kafka.connect(broker.kafkaPort);
    expect(await kafka.values(topic, 0)).toEqual(young);
    kafka.close();
    expect(statSync(path).isDirectory()).toBe(true);
    rmSync(path, { recursive: true });
    renameSync(`${path}.aside`, path);
    await onlyNew(broker);
  }, 90_000);
});
