/** What consuming an archived topic costs the bucket: first, again, and after a restart. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { WireClient } from "../../src/client/wire-client.ts";
import { registrySegments, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { type ColdScan, fetchAt, fill, scan } from "../support/cold-scan.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import {
  accessKey,
  type S3Server,
  s3SkipReason,
  secretKey,
  startS3,
} from "../support/s3-server.ts";
import { Kafka } from "./kafka.ts";

const isCi = process.env["CI"] === "true";
const MiB = 1 << 20;

test.skipIf(!isCi && s3SkipReason !== null)("there is an S3 server", () => {
  expect(s3SkipReason).toBeNull();
});

describe.skipIf(s3SkipReason !== null)("a topic in a bucket", () => {
  let server: S3Server;
  let proxy: FaultProxy;
  let broker: BrokerProcess;
  const cacheBytesMax = 16 * MiB;
  const args = [
    ["--wal-indexing-interval", "1"],
    ["-X", "min_segment_age_secs=0"],
    ["-X", "wal.segment_bytes_max=8MiB"],
    ["-X", "indexer.archive_bytes_max=8MiB"],
    ["-X", "limits.tail_cache_bytes_max=0"],
    ["-X", "limits.chunk_cache_bytes_max=4MiB"],
    ["-X", "object_store.read_timeout_ms=5000"],
    ["-X", `cache.max_bytes=${cacheBytesMax}`],
    // Only readers ask the bucket for archives, and a deletion waits for a backup.
    ["-X", "indexer.merge_archives=false"],
    ["-X", "scrub.enabled=false"],
    ["-X", "backup.interval=1"],
  ].flat();

  const gets = () =>
    proxy.seen.filter(({ path }) => /tantivy_indexes.*x-id=GetObject/.test(path)).length;
  const cacheDir = () => join(broker.dataDir, "cache");
  const slabs = () => readdirSync(cacheDir()).filter((name) => name.endsWith(".slab"));
  const cacheBytes = () =>
    slabs().reduce((sum, name) => sum + statSync(join(cacheDir(), name)).size, 0);

  /** Scans a topic and tells its cost. */
  async function cost(what: string, topic: string, end: number) {
    const before = gets();
    const found = await scan(broker.kafkaPort, topic, end);
    const count = gets() - before;
    const mib = found.bytes / MiB;
    const rate = (count / mib).toFixed(2);
    const detail = `${found.fetches} fetches, ${found.empty} without records`;
    console.log(`${what}: ${count} GETs for ${mib.toFixed(1)} MiB: ${rate} a MiB; ${detail}`);
    return { ...found, gets: count };
  }

  beforeAll(async () => {
    server = await startS3();
    proxy = await FaultProxy.start(server.endpoint);
    const env = {
      OBJECT_STORE_BACKEND: "s3",
      S3_ENDPOINT: proxy.endpoint,
      S3_REGION: "us-east-1",
      S3_BUCKET: server.bucket,
      S3_ACCESS_KEY: accessKey,
      S3_SECRET_KEY: secretKey,
    };
    broker = await startBroker({ args, env });
    const kafka = await Kafka.connect(broker.kafkaPort);
    for (const topic of ["costs", "large", "flips", "stalls", "doomed"])
      await kafka.createTopic(topic);
    kafka.close();
    await fill(broker.kafkaPort, "costs", 24_000);
    await fill(broker.kafkaPort, "large", 60_000);
    await fill(broker.kafkaPort, "flips", 8_000);
    await fill(broker.kafkaPort, "doomed", 16_000);
    await fill(broker.kafkaPort, "stalls", 1_000);
    await untilAllArchived(broker, 120_000);
    await broker.restart();
  }, 600_000);
  afterAll(async () => {
    await broker?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test("is read with fewer requests than it has chunks, after a restart with none", async () => {
    const all = await registrySegments(broker);
    const entries = all.filter(({ topic }) => topic === "costs").length;
    const first = await cost("first", "costs", 24_000);
    // A chunk has 256 KiB of batches or more; half a MiB and more with these batches.
    const chunks = Math.ceil(first.bytes / (0.5 * MiB));
    expect(first.gets).toBeLessThanOrEqual((chunks + entries) * 1.1);
    expect(first.gets).toBeGreaterThanOrEqual(2 * entries);
    const same = ({ records, bytes, sha256 }: ColdScan) => ({ records, bytes, sha256 });
    const second = await cost("second", "costs", 24_000);
    expect(same(second)).toEqual(same(first));
    expect(second.gets).toBe(0);
    await broker.restart();
    const third = await cost("after a restart", "costs", 24_000);
    expect(same(third)).toEqual(same(first));
    expect(third.gets).toBe(0);
    await broker.kill9();
    await broker.restart();
    const fourth = await cost("after kill -9", "costs", 24_000);
    expect(same(fourth)).toEqual(same(first));
    expect(fourth.gets).toBeLessThan(first.gets / 2);
  }, 180_000);

  test("damaged cache files are not served", async () => {
    const before = await scan(broker.kafkaPort, "flips", 8_000);
    await broker.stop();
    for (const name of slabs()) {
      const path = join(cacheDir(), name);
      const bytes = readFileSync(path);
      for (let at = 0; at < bytes.length; at += 100_000) bytes[at] = (bytes[at] ?? 0) ^ 0xff;
      writeFileSync(path, bytes);
    }
    await broker.restart();
    const after = await cost("from a damaged cache", "flips", 8_000);
    expect(after.sha256).toBe(before.sha256);
    expect(after.gets).toBeGreaterThan(0);
  }, 120_000);

  test("keeps within the cache's disk, however large the topic", async () => {
    const all = await registrySegments(broker);
    const stored = all.filter(({ topic }) => topic === "large");
    const storedBytes = stored.reduce((sum, { bytes }) => sum + bytes, 0);
    console.log(`${(storedBytes / MiB).toFixed(1)} MiB of archives`);
    const first = await cost("a large topic", "large", 60_000);
    expect(first.records).toBe(60_000);
    expect(cacheBytes()).toBeLessThanOrEqual(cacheBytesMax);
    expect(cacheBytes()).toBeGreaterThan(4 * MiB);
  }, 120_000);

  test("a store that stalls delays its own readers, not others of the same fetch", async () => {
    const kafka = await Kafka.connect(broker.kafkaPort);
    await kafka.createTopic("tail");
    await kafka.append("tail", 0, ["one"]);
    proxy.will({ kind: "stall", method: "GET", path: /\/stalls\// });
    const client = await WireClient.open({
      ...{ host: "127.0.0.1", port: broker.kafkaPort, clientId: "stalled" },
    });
    const startMs = performance.now();
    expect(await fetchAt(client, "stalls", 0, 0)).toHaveLength(0);
    expect(performance.now() - startMs).toBeWithin(400, 2_000);
    const tailMs = performance.now();
    expect((await fetchAt(client, "tail", 0, 0)).length).toBeGreaterThan(0);
    expect(performance.now() - tailMs).toBeLessThan(400);
    proxy.will();
    await until("what stalled is there", 20_000, async () => {
      try {
        return (await fetchAt(client, "stalls", 0, 0)).length > 0;
      } catch {
        return false; // the request that stalled was given up
      }
    });
    client.close();
    kafka.close();
  }, 60_000);

  test("a deleted topic leaves the cache", async () => {
    // A file goes when less than half of it is of use: what other topics left is not in the way.
    await broker.stop();
    for (const name of slabs()) rmSync(join(cacheDir(), name));
    await broker.restart();
    const kafka = await Kafka.connect(broker.kafkaPort);
    await scan(broker.kafkaPort, "doomed", 16_000);
    const before = cacheBytes();
    await kafka.deleteTopic("doomed");
    kafka.close();
    await until("it leaves the cache", 30_000, () => cacheBytes() < before - 3 * MiB);
  }, 90_000);
});
