/** Compaction beside Apache Kafka: the same batches into both, and after cleaning Kafka's console
 * consumer prints the same offsets, keys and values from both. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { Kafka } from "../broker/kafka.ts";
import { missingPrograms } from "../clients/setup.ts";
import { busyTierArgs } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { batch } from "../support/log-lab.ts";
import { type PeerKafka, startPeerKafka } from "../support/peer-kafka.ts";
import { Random } from "../support/random.ts";
import { startToolServer, type ToolServer } from "../tools/tool-server.ts";

const missing = missingPrograms(["java", "mvn"]);
const isCi = process.env["CI"] === "true";
const segmentMs = 50;
const notYetLed: readonly number[] = [
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
];

interface Line {
  readonly offset: number;
  readonly key: string;
  readonly value: string;
}

interface Input {
  readonly keys: string[];
  readonly values: (string | null)[];
}

test.skipIf(!isCi && missing !== null)("there is a Kafka to compare with", () => {
  expect(missing).toBeNull();
});

describe.skipIf(missing !== null)("beside Kafka", () => {
  let broker: BrokerProcess;
  let peer: PeerKafka;
  let tools: ToolServer;
  let folder: string;
  let both: { kafka: Kafka; bootstrap: string }[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "chronik-compaction-"));
    broker = await startBroker({ args: busyTierArgs });
    peer = await startPeerKafka({ properties: ["log.cleaner.backoff.ms=200"], heapMb: 512 });
    tools = await startToolServer();
    both = await Promise.all(
      [broker.bootstrap, peer.bootstrap].map(async (bootstrap) => ({
        kafka: await Kafka.connect(Number(bootstrap.split(":")[1])),
        bootstrap,
      })),
    );
  }, 180_000);
  afterAll(async () => {
    for (const { kafka } of both) kafka.close();
    await tools?.[Symbol.asyncDispose]();
    await peer?.[Symbol.asyncDispose]();
    await broker?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  async function consumed(bootstrap: string, topic: string): Promise<Line[]> {
    const stdoutPath = join(folder, "consumed.txt");
    const properties = ["print.key=true", "print.offset=true", "null.literal=<null>"];
    const { exit, stderr } = await tools.run(
      "console-consumer",
      ["--bootstrap-server", bootstrap, "--topic", topic, "--from-beginning"]
        .concat(["--timeout-ms", "3000", "--command-property", "check.crcs=true"])
        .concat(properties.flatMap((property) => ["--formatter-property", property])),
      { stdoutPath },
    );
    expect(exit).toBe(0);
    // It ends by its time-out, and says so.
    const errors = stderr.split("\n").filter((line) => line.includes(" ERROR "));
    expect(errors.filter((line) => !line.includes("terminating consumer"))).toEqual([]);
    return readFileSync(stdoutPath, "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => {
        const [offset = "", key = "", value = ""] = line.split("\t");
        return { offset: Number(offset.replace("Offset:", "")), key, value };
      });
  }

  async function append(kafka: Kafka, topic: string, input: Input): Promise<void> {
    const timestamps = input.keys.map(() => Date.now());
    let errorCode = -1;
    // Kafka tells of a topic before it leads its partitions.
    await until("the topic is led", 10_000, async () => {
      const bytes = batch({ keys: input.keys, values: input.values, timestamps });
      ({ errorCode } = await kafka.produce(topic, 0, bytes));
      return !notYetLed.includes(errorCode);
    });
    expect(errorCode).toBe(0);
  }

  /** Appends the batches, and one record that leaves them in a segment of their own behind it. */
  async function feed(topic: string, inputs: readonly Input[], last: string): Promise<void> {
    for (const { kafka } of both) {
      for (const input of inputs) await append(kafka, topic, input);
      const fedMs = performance.now();
      await until("the segment is old", 5_000, () => performance.now() > fedMs + 2 * segmentMs);
      await append(kafka, topic, { keys: [last], values: ["end"] });
    }
  }

  /** What each says once no key comes twice and `isDone` holds; Kafka first. */
  async function compacted(topic: string, isDone: (lines: readonly Line[]) => boolean) {
    const found: Line[][] = [];
    for (const { bootstrap } of [...both].reverse()) {
      let lines: Line[] = [];
      await until(`${bootstrap} has compacted`, 90_000, async () => {
        lines = await consumed(bootstrap, topic);
        return new Set(lines.map(({ key }) => key)).size === lines.length && isDone(lines);
      });
      found.push(lines);
    }
    return found;
  }

  async function agreed(topic: string, isDone: (lines: readonly Line[]) => boolean) {
    const [kafka, chronik] = await compacted(topic, isDone);
    expect(chronik).toEqual(kafka ?? []);
    return chronik ?? [];
  }

  async function create(topic: string, configs: Record<string, string>): Promise<void> {
    for (const { kafka } of both) {
      await kafka.createTopic(topic, 1, {
        "cleanup.policy": "compact",
        "segment.ms": String(segmentMs),
        "min.cleanable.dirty.ratio": "0.01",
        ...configs,
      });
    }
  }

  test.each(["uncompressed", "gzip", "zstd"])(
    "the same records stay (%s)",
    async (codec) => {
      const topic = `compacted-${codec}`;
      await create(topic, { "compression.type": codec });
      const inputs = randomInputs(new Random(codec.length));
      await feed(topic, inputs, "end-1");
      const first = await agreed(topic, (lines) => lines.length > 1);
      expect(first.filter(({ key }) => key.startsWith("k"))).toEqual(lastOf(inputs));
      // What was compacted once is compacted again.
      const more = randomInputs(new Random(codec.length + 100));
      await feed(topic, more, "end-2");
      const second = await agreed(topic, (lines) => lines.some(({ key }) => key === "end-2"));
      const whole = [...inputs, { keys: ["end-1"], values: ["end"] }, ...more];
      expect(second.filter(({ key }) => key !== "end-2")).toEqual(lastOf(whole));
    },
    300_000,
  );

  test("tombstones go once readers had time to see them", async () => {
    const topic = "compacted-tombstones";
    await create(topic, { "delete.retention.ms": "0" });
    const inputs = randomInputs(new Random(5));
    await feed(topic, inputs, "end-1");
    await compacted(topic, (lines) => lines.length > 1);
    // The first cleaning finds a tombstone to be last, one after that takes it.
    const more = Array.from({ length: 9 }, (_, at) => ({ keys: [`m${at % 3}`], values: ["m"] }));
    await feed(topic, more, "end-2");
    // A consumer that ran out of its time says nothing at all.
    const isDone = (found: readonly Line[]) =>
      found.length > 0 && found.every(({ value }) => value !== "<null>");
    const lines = await agreed(topic, isDone);
    expect(lines.filter(({ key }) => key.startsWith("k"))).toEqual(
      lastOf(inputs).filter(({ value }) => value !== "<null>"),
    );
    expect(lines.map(({ key }) => key)).toContain("end-1");
  }, 300_000);
});

function randomInputs(random: Random): Input[] {
  return Array.from({ length: 40 }, () => {
    const keys = Array.from({ length: random.between(1, 6) }, () => `k${random.between(0, 15)}`);
    const values = keys.map((key) =>
      random.next() < 0.3 ? null : `${key} ${random.between(0, 1e6)}`,
    );
    return { keys, values };
  });
}

/** The last record of each key, at its offset. */
function lastOf(inputs: readonly Input[]): Line[] {
  const last = new Map<string, Line>();
  let offset = 0;
  for (const { keys, values } of inputs) {
    for (const [at, key] of keys.entries()) {
      last.set(key, { offset, key, value: values[at] ?? "<null>" });
      offset++;
    }
  }
  return [...last.values()].sort((a, b) => a.offset - b.offset);
}
