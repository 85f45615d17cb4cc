/** Retention beside Apache Kafka: the same batches, the same limits, the same log start. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { batchOf, Kafka } from "../broker/kafka.ts";
import { missingPrograms } from "../clients/setup.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { type PeerKafka, startPeerKafka } from "../support/peer-kafka.ts";

const missing = missingPrograms(["java", "mvn"]);
const isCi = process.env["CI"] === "true";
const dayMs = 86_400_000;
/** Ten of them fill a segment of 1 MiB, with Kafka's batches as with chronik's frames. */
const value = "x".repeat(100_000);
const notYetLed: readonly number[] = [
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
];
const looking = ["log.initial.task.delay.ms=0", "log.retention.check.interval.ms=200"];

test.skipIf(!isCi && missing !== null)("there is a Kafka to compare with", () => {
  expect(missing).toBeNull();
});

describe.skipIf(missing !== null)("beside Kafka", () => {
  let broker: BrokerProcess;
  let peer: PeerKafka;
  let both: Kafka[] = [];

  beforeAll(async () => {
    const args = ["--no-wal-indexing", ...looking.flatMap((property) => ["-X", property])];
    broker = await startBroker({ args });
    peer = await startPeerKafka({ properties: looking, heapMb: 512 });
    const ports = [broker.bootstrap, peer.bootstrap].map((at) => Number(at.split(":")[1]));
    both = await Promise.all(ports.map((port) => Kafka.connect(port)));
  }, 180_000);
  afterAll(async () => {
    for (const kafka of both) kafka.close();
    await peer?.[Symbol.asyncDispose]();
    await broker?.[Symbol.asyncDispose]();
  });

  /** Ages in ms of the records, one to a batch, and what the topic's limits are. */
  const table: [string, number[], Record<string, string>][] = [
    ["by size", ages([35, 0]), { "retention.bytes": "2000000" }],
    ["by size, everything", ages([25, 0]), { "retention.bytes": "0" }],
    ["by size, down to the active segment", ages([25, 0]), { "retention.bytes": "1" }],
    ["by size, to the very byte", ages([20, 0]), { "retention.bytes": "1000000" }],
    ["by time", ages([25, 2 * dayMs], [10, 0]), { "retention.ms": `${dayMs}` }],
    ["by time, everything", ages([25, 2 * dayMs]), { "retention.ms": `${dayMs}` }],
    [
      "by time behind size",
      ages([20, 0], [20, 2 * dayMs], [5, 0]),
      {
        "retention.ms": `${dayMs}`,
        "retention.bytes": "2500000",
      },
    ],
    ["not behind a young segment", ages([10, 0], [20, 2 * dayMs]), { "retention.ms": `${dayMs}` }],
    [
      "not ahead of the clock",
      ages([10, -1_800_000], [20, 2 * dayMs]),
      {
        "retention.ms": `${dayMs}`,
      },
    ],
    [
      "not without delete",
      ages([25, 2 * dayMs]),
      {
        "cleanup.policy": "",
        "retention.ms": `${dayMs}`,
      },
    ],
  ];

  test.each(table)(
    "%s",
    async (name, records, configs) => {
      const topic = name.replaceAll(/\W+/g, "-");
      const starts = await Promise.all(
        both.map((kafka) => logStart(kafka, topic, records, configs)),
      );
      expect(starts[0]).toEqual(starts[1] ?? { start: -1, appended: -1 });
    },
    120_000,
  );

  async function logStart(
    kafka: Kafka,
    topic: string,
    records: readonly number[],
    configs: Readonly<Record<string, string>>,
  ) {
    const nowMs = Date.now();
    const append = async (name: string, age: number) => {
      let answer = { errorCode: -1, baseOffset: -1 };
      // Kafka tells of a topic before it leads its partitions.
      await until("the topic is led", 10_000, async () => {
        answer = await kafka.produce(name, 0, batchOf([value], {}, nowMs - age));
        return !notYetLed.includes(answer.errorCode);
      });
      expect(answer.errorCode).toBe(0);
      return answer.baseOffset;
    };
    const forms = { "retention.ms": "-1", "segment.bytes": "1048576" };
    await kafka.createTopic(topic, 1, forms);
    for (const age of records) await append(topic, age);
    await kafka.alterTopic(topic, configs);
    // Two later topics emptied one behind the other: a whole look at all topics lies between.
    for (const witness of [`${topic}-1`, `${topic}-2`]) {
      await kafka.createTopic(witness, 1, { "retention.ms": "1" });
      await append(witness, dayMs);
      await until("a later topic is empty", 60_000, async () => (await start(witness)) === 1);
    }
    return { start: await start(topic), appended: await append(topic, 0) };

    async function start(name: string): Promise<number> {
      return (await kafka.listOffset(name, 0, -2)).offset;
    }
  }
});

/** So many records of each age. */
function ages(...runs: [count: number, ageMs: number][]): number[] {
  return runs.flatMap(([count, ageMs]) => Array.from({ length: count }, () => ageMs));
}
