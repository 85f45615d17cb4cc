/** Retention that is killed between the log start and what lies below it. */

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { batchOf, Kafka } from "../broker/kafka.ts";
import { busyTierArgs, registrySegments, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";

const bin = process.env["CHRONIK_TEST_BIN"] ?? join(import.meta.dir, "../../dist/chronik-test");
const looking = ["-X", "log.initial.task.delay.ms=0", "-X", "log.retention.check.interval.ms=100"];
const dayMs = 86_400_000;
const untilMs = 20_000;

function objects(broker: BrokerProcess): string[] {
  return readdirSync(join(broker.dataDir, "tantivy_indexes/kept/partition-0"));
}

test.each(["retention-start-moved", "reap", "reaped", "write_file_before_rename"])(
  "killed at %s, retention goes on after the start",
  async (point) => {
    await using broker = await startBroker({ bin, args: [...busyTierArgs, ...looking] });
    const append = async (kafka: Kafka, text: string, ageMs: number) => {
      const answer = await kafka.produce("kept", 0, batchOf([text], {}, Date.now() - ageMs));
      expect(answer.errorCode).toBe(0);
    };
    let kafka = await Kafka.connect(broker.kafkaPort);
    await kafka.createTopic("kept", 1, { "retention.ms": "-1" });
    for (const [text, ageMs] of [
      ["old", 2 * dayMs],
      ["older", 3 * dayMs],
      ["young", 0],
    ] as const) {
      await append(kafka, text, ageMs);
      await untilAllArchived(broker);
    }
    kafka.close();
    await broker.restart({ CHRONIK_FP: `${point}=kill` });
    const ended = broker.exited();
    kafka = await Kafka.connect(broker.kafkaPort);
    await kafka.alterTopic("kept", { "retention.ms": String(dayMs) });
    expect(await ended).toBe(128 + 9);
    kafka.close();
    await broker.restart();
    kafka = await Kafka.connect(broker.kafkaPort);
    await until("the log start is 2", untilMs, async () => {
      return (await kafka.listOffset("kept", 0, -2)).offset === 2;
    });
    expect(await kafka.values("kept", 0, 2)).toEqual(["young"]);
    await until("one object is left", untilMs, () => objects(broker).length === 1);
    const named = (await registrySegments(broker)).map(({ key }) => key.split("/").at(-1) ?? "");
    expect(named).toEqual(objects(broker));
    await append(kafka, "next", 0);
    await untilAllArchived(broker);
    expect(await kafka.values("kept", 0, 2)).toEqual(["young", "next"]);
    kafka.close();
  },
  60_000,
);
