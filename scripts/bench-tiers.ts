import { join } from "node:path";
import { parseArgs } from "node:util";
import { WireClient } from "../src/client/wire-client.ts";
import { batchOf, Kafka } from "../test/broker/kafka.ts";
import { registrySegments, untilAllArchived } from "../test/support/archives.ts";
import { type BrokerProcess, startBroker } from "../test/support/broker-process.ts";
import { fetchAt, fill, scan } from "../test/support/cold-scan.ts";
import { accessKey, type S3Server, secretKey, startS3 } from "../test/support/s3-server.ts";
import { print, residentMib } from "./figures.ts";
import { main } from "./support.ts";

/**
 * What archives cost readers, one JSON line a figure; `bun scripts/bench-tiers.ts cold`:
 * a fetch that finds nothing in any cache, from the local store and from an S3 server, beside a GET
 * of that server; how long records take to a consumer at the end of a log, at rest and while
 * `--scans 4` consumers read archives, each as fast as it can or `--pace 20` MiB/s; what those
 * cost in requests' bytes and memory. The scanning clients and the S3 server get only the time that
 * nobody else wants: in the field they have machines of their own. What they cost all the same
 * shows on a second broker that nobody scans, whose tail is measured in turn with the first one's.
 */

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    archives: { type: "string", default: "150" },
    scans: { type: "string", default: "4" },
    /** MiB/s of each scan; 0: as fast as it goes. */
    pace: { type: "string", default: "0" },
    seconds: { type: "string", default: "15" },
    /** For the processes that this one starts: consumes a topic over and over. */
    scan: { type: "string" },
    port: { type: "string", default: "0" },
    records: { type: "string", default: "0" },
  },
});
const archiveCount = Number(values.archives);
const scanCount = Number(values.scans);
const measureMs = Number(values.seconds) * 1000;
const recordsPerArchive = 2_400;
const scanRecords = 120_000;
const everyMs = 5;
const pace = Number(values.pace) * (1 << 20);
const rounds = 5;

/** Nothing is cached but in memory. */
const tailArgs = [
  ["--wal-indexing-interval", "1"],
  ["-X", "min_segment_age_secs=0"],
  ["-X", "max_segments_per_run=100000"],
  ["-X", "cache.max_bytes=0"],
].flat();
/** The same, and every archive has little more than a MiB. */
const coldArgs = [
  tailArgs,
  ["-X", "wal.segment_bytes_max=1MiB"],
  ["-X", "indexer.archive_bytes_max=1MiB"],
].flat();

function quantiles(ms: readonly number[]): Record<string, number> {
  const sorted = ms.toSorted((left, right) => left - right);
  const at = (share: number): number => {
    const value = sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? 0;
    return Math.round(value * 100) / 100;
  };
  return { count: sorted.length, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1) };
}

function s3Environment(server: S3Server): Record<string, string> {
  return {
    OBJECT_STORE_BACKEND: "s3",
    S3_ENDPOINT: server.endpoint,
    S3_REGION: "us-east-1",
    S3_BUCKET: server.bucket,
    S3_ACCESS_KEY: accessKey,
    S3_SECRET_KEY: secretKey,
  };
}

/** One fetch into the middle of each archive: its table of contents and one chunk. */
async function coldFetches(broker: BrokerProcess): Promise<Record<string, number>> {
  const kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic("cold", 1, { "segment.bytes": String(1 << 20) });
  await fill(broker.kafkaPort, "cold", archiveCount * recordsPerArchive);
  await untilAllArchived(broker, 600_000);
  kafka.close();
  await broker.restart();
  const segments = (await registrySegments(broker)).filter(({ topic }) => topic === "cold");
  const port = broker.kafkaPort;
  const client = await WireClient.open({ host: "127.0.0.1", port, clientId: "cold" });
  const ms: number[] = [];
  for (const { base_offset, last_offset } of segments) {
    const offset = Math.floor((base_offset + last_offset) / 2);
    const startMs = performance.now();
    const records = await fetchAt(client, "cold", 0, offset);
    ms.push(performance.now() - startMs);
    if (records.length === 0) throw new Error(`no records at ${offset}`);
  }
  client.close();
  return quantiles(ms);
}

/** GETs of 64 KiB from each archive, one after the other, by a client of its own. */
async function ownGets(broker: BrokerProcess, server: S3Server): Promise<Record<string, number>> {
  const s3 = new Bun.S3Client({
    accessKeyId: accessKey,
    secretAccessKey: secretKey,
    endpoint: server.endpoint,
    bucket: server.bucket,
    region: "us-east-1",
  });
  const ms: number[] = [];
  for (const { key } of await registrySegments(broker)) {
    const startMs = performance.now();
    await s3.file(key).slice(0, 65_536).arrayBuffer();
    ms.push(performance.now() - startMs);
  }
  return quantiles(ms);
}

/** From the call of produce to the record's arrival, each `everyMs`. */
async function tailMs(port: number, forMs: number): Promise<number[]> {
  const kafka = await Kafka.connect(port);
  const client = await WireClient.open({ host: "127.0.0.1", port, clientId: "tail" });
  const latest = await kafka.produce("tail", 0, batchOf(["x".repeat(200)]));
  let next = latest.baseOffset + 1;
  const ms: number[] = [];
  const endMs = performance.now() + forMs;
  while (performance.now() < endMs) {
    const arrival = fetchAt(client, "tail", 0, next);
    await Bun.sleep(everyMs);
    const startMs = performance.now();
    const answer = kafka.produce("tail", 0, batchOf(["x".repeat(200)]));
    if ((await arrival).length > 0) {
      ms.push(performance.now() - startMs);
      next++;
    }
    await answer;
  }
  client.close();
  kafka.close();
  return ms;
}

async function createTopics(broker: BrokerProcess, ...topics: string[]): Promise<void> {
  const kafka = await Kafka.connect(broker.kafkaPort);
  for (const topic of topics) await kafka.createTopic(topic);
  kafka.close();
}

/** As fast as `--pace` allows. */
async function scanOnce(port: number, name: string, records: number): Promise<void> {
  const startMs = performance.now();
  await scan(port, name, records, 0, async (bytes) => {
    const aheadMs = pace === 0 ? 0 : (bytes / pace) * 1000 - (performance.now() - startMs);
    if (aheadMs > 0) await Bun.sleep(aheadMs);
  });
}

/** Runs when nobody else wants to (SCHED_IDLE). */
function giveWay(pid: number): void {
  const done = Bun.spawnSync(["chrt", "--all-tasks", "--idle", "--pid", "0", String(pid)]);
  if (done.exitCode !== 0) throw new Error(`chrt failed: ${done.stderr}`);
}

/** Starts the scans; stops them when disposed of. */
function startScans(broker: BrokerProcess): AsyncDisposable {
  const args = ["--port", String(broker.kafkaPort), "--records", String(scanRecords)];
  const command = [process.execPath, import.meta.path, "--scan", "scanned", "--pace", values.pace];
  const scans = Array.from({ length: scanCount }, () =>
    Bun.spawn([...command, ...args], { stdout: "ignore", stderr: "inherit" }),
  );
  for (const { pid } of scans) giveWay(pid);
  return {
    async [Symbol.asyncDispose]() {
      for (const one of scans) one.kill();
      await Promise.all(scans.map((one) => one.exited));
    },
  };
}

/** Bytes of archives that readers got since the start. */
async function archiveBytes(broker: BrokerProcess): Promise<number> {
  const page = await (await fetch(`${broker.adminUrl}/metrics`)).text();
  return Number(/^chronik_tier_read_bytes\{tier="archive"\} (\S+)$/m.exec(page)?.[1] ?? 0);
}

/** A broker's tail, round by round. */
class Tail {
  readonly broker: BrokerProcess;
  private readonly rounds: number[][] = [];

  constructor(broker: BrokerProcess) {
    this.broker = broker;
  }

  async measure(): Promise<void> {
    this.rounds.push(await tailMs(this.broker.kafkaPort, measureMs / rounds));
  }

  print(figure: string, more: Record<string, unknown>): void {
    const p99_by_round = this.rounds.map((ms) => quantiles(ms)["p99_ms"]);
    print(figure, { ...more, ...quantiles(this.rounds.flat()), p99_by_round });
  }
}

/** Tail consumers beside nothing and beside scans in turn, A B A B, of the broker that is scanned
 * and of one beside it. */
async function tails(backend: string, env: Record<string, string> = {}): Promise<void> {
  if (measureMs === 0) return;
  await using broker = await startBroker({ args: tailArgs, env });
  await using unscanned = await startBroker({ args: tailArgs });
  await createTopics(broker, "tail", "scanned");
  await createTopics(unscanned, "tail");
  await fill(broker.kafkaPort, "scanned", scanRecords);
  await untilAllArchived(broker, 600_000);
  await broker.restart();
  const rest = [new Tail(broker), new Tail(unscanned)] as const;
  const beside = [new Tail(broker), new Tail(unscanned)] as const;
  let scannedBytes = 0;
  let scannedMs = 0;
  let resident = 0;
  for (let round = 0; round < rounds; round++) {
    for (const tail of rest) await tail.measure();
    await using _ = startScans(broker);
    const before = await archiveBytes(broker);
    const startMs = performance.now();
    await beside[0].measure();
    scannedBytes += (await archiveBytes(broker)) - before;
    scannedMs += performance.now() - startMs;
    await beside[1].measure();
    resident = Math.max(resident, residentMib(broker.pid));
  }
  const rate = Math.round((scannedBytes / scannedMs) * (1000 / (1 << 20)));
  rest[0].print("tail at rest", { backend });
  const scans = { backend, scans: scanCount, scans_mib_per_sec: rate, resident_mib: resident };
  beside[0].print("tail beside scans", scans);
  rest[1].print("tail of a broker that is not scanned, at rest", { backend });
  beside[1].print("tail of a broker that is not scanned, beside scans", { backend });
  const one = await scan(broker.kafkaPort, "scanned", scanRecords);
  const secs = one.fetchMs.reduce((sum, each) => sum + each, 0) / 1000;
  const mibPerSec = Math.round(one.bytes / secs / (1 << 20));
  print("scan alone", { backend, mib_per_sec: mibPerSec, ...quantiles(one.fetchMs) });
}

async function cold(): Promise<void> {
  {
    await using broker = await startBroker({ args: coldArgs });
    print("cold fetch", { backend: "local", ...(await coldFetches(broker)) });
  }
  await tails("local");
  await using server = await startS3();
  const env = s3Environment(server);
  {
    await using broker = await startBroker({ args: coldArgs, env });
    const fetches = await coldFetches(broker);
    print("own GET", { backend: "s3", ...(await ownGets(broker, server)) });
    print("cold fetch", { backend: "s3", ...fetches });
  }
  giveWay(server.pid);
  await tails("s3", env);
}

await main(async () => {
  if (values.scan !== undefined) {
    for (;;) await scanOnce(Number(values.port), values.scan, Number(values.records));
  }
  if (positionals[0] !== "cold") {
    console.error(`usage: bun ${join("scripts", "bench-tiers.ts")} cold`);
    return 2;
  }
  await cold();
  return 0;
});
