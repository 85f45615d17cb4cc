/** The WAL's cap with a store that takes nothing: who waits, who is refused, who is unharmed. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { type S3Server, s3SkipReason, startS3 } from "../support/s3-server.ts";
import { Kafka } from "./kafka.ts";
import { checkStore, checkTopic, hurriedStoreArgs, s3Environment, Writer } from "./store-scene.ts";

const MiB = 1 << 20;
const capBytes = 8 * MiB;
const isCi = process.env["CI"] === "true";

test.skipIf(!isCi && s3SkipReason !== null)("there is an S3 server", () => {
  expect(s3SkipReason).toBeNull();
});

describe.skipIf(s3SkipReason !== null)("a WAL of 8 MiB", () => {
  let server: S3Server;
  let proxy: FaultProxy;
  let broker: BrokerProcess;

  beforeAll(async () => {
    server = await startS3();
    proxy = await FaultProxy.start(server.endpoint);
    broker = await startBroker({
      args: hurriedStoreArgs,
      env: {
        ...s3Environment(proxy.endpoint, server.bucket),
        CHRONIK_WAL_MAX_BYTES: `${capBytes}`,
      },
    });
  }, 600_000);
  afterAll(async () => {
    await broker?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  const metric = async (name: string): Promise<number> => {
    const text = await (await fetch(`${broker.adminUrl}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1] ?? Number.NaN);
  };

  /** File lengths, which space reserved in front of the writer is not part of. */
  const walFileBytes = (topic: string): number => {
    const folder = join(broker.dataDir, "wal", topic, "0");
    const logs = readdirSync(folder).filter((name) => name.endsWith(".log"));
    return logs.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
  };

  test("producers are slowed, then refused; readers and groups go on; all catches up", async () => {
    proxy.will({ kind: "stall", method: "PUT", path: /tantivy_indexes\// });
    const kafka = await Kafka.connect(broker.kafkaPort);
    await kafka.createTopic("capped");
    const writer = new Writer("capped", { valueBytes: 100_000, timeoutMs: 2_000 });
    await writer.write(kafka, 300, () => writer.throttledMs > 0);
    // Slowed first: nothing was refused yet.
    expect(writer.refused).toBe(0);
    expect(writer.acked.length * 100_000).toBeGreaterThan(0.85 * capBytes);
    const refusing = writer.write(kafka, 300, () => writer.refused >= 10 && healed);
    let healed = false;
    await until("producers are refused", 30_000, () => writer.refused >= 10);
    expect(writer.lastMessage).toContain(`wal.max_bytes (${capBytes})`);
    expect(await metric("chronik_wal_user_bytes")).toBeLessThanOrEqual(capBytes);
    expect(await metric("chronik_wal_max_bytes")).toBe(capBytes);
    expect(await metric("chronik_wal_refused_batches")).toBeGreaterThanOrEqual(10);
    expect(await metric("chronik_wal_throttled_seconds")).toBeGreaterThan(0);
    expect(walFileBytes("capped")).toBeLessThanOrEqual(capBytes + MiB);
    // Readers read, groups commit, other topics are capped alike.
    await checkTopic(broker, "capped", writer.acked);
    const other = await Kafka.connect(broker.kafkaPort);
    const startMs = performance.now();
    for (let at = 1; at <= 20; at++) await other.commit("reader", "capped", at);
    expect(await other.committed("reader", "capped")).toBe(20);
    expect(performance.now() - startMs).toBeLessThan(5_000);
    other.close();
    const before = writer.acked.length;
    proxy.will();
    healed = true;
    await until("producing goes on", 20_000, () => writer.acked.length > before);
    await refusing;
    // Several times the cap flows through it.
    await writer.write(kafka, 400);
    expect(writer.acked.length).toBeGreaterThan(450);
    await untilAllArchived(broker);
    await checkTopic(broker, "capped", writer.acked);
    await checkStore(broker, server, ["capped"]);
    const log = broker.log();
    expect(log).toContain("the WAL is nearly at wal.max_bytes");
    expect(log).toContain("the WAL is at wal.max_bytes");
    expect(log).toContain("the WAL has room again");
    expect(log.match(/the WAL is at wal\.max_bytes/g)?.length).toBeLessThan(30);
    kafka.close();
  }, 120_000);

  test("a start with a WAL beyond the cap makes room at once", async () => {
    proxy.will({ kind: { status: 503, code: "SlowDown" }, method: "PUT", path: /tantivy/ });
    const kafka = await Kafka.connect(broker.kafkaPort);
    await kafka.createTopic("before");
    const writer = new Writer("before", { valueBytes: 100_000, timeoutMs: 2_000 });
    await writer.write(kafka, 60);
    kafka.close();
    await broker.restart({ CHRONIK_WAL_MAX_BYTES: `${4 * MiB}` });
    const again = await Kafka.connect(broker.kafkaPort);
    expect(await metric("chronik_wal_user_bytes")).toBeGreaterThan(4 * MiB);
    await checkTopic(broker, "before", writer.acked);
    const going = writer.write(again, 20);
    await until("it is refused", 20_000, () => writer.refused > 0);
    proxy.will();
    await going;
    await untilAllArchived(broker);
    await checkTopic(broker, "before", writer.acked);
    again.close();
    // Tests run in any order: the other one's cap.
    await broker.restart();
  }, 90_000);
});
