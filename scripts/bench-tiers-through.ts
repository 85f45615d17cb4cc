import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { settings } from "../src/config-settings.ts";
import { Kafka } from "../test/broker/kafka.ts";
import { s3Environment, s3Folder } from "../test/broker/store-scene.ts";
import { registrySegments, walPartitions } from "../test/support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../test/support/broker-process.ts";
import { FaultProxy } from "../test/support/fault-proxy.ts";
import { startS3 } from "../test/support/s3-server.ts";
import { cpuSecs, print } from "./figures.ts";
import { main, ScriptError } from "./support.ts";
import { consumeThrough, type Tally, ThroughProducer } from "./through-load.ts";

type Phase = "produce" | "archive" | "index" | "consume";

export interface ThroughOptions {
  readonly bytes: number;
  readonly walBytesMax: number;
  readonly cacheBytesMax: number;
  readonly partitions: number;
  readonly store: "local" | "s3";
  /** Every archive has its index before the first is read. */
  readonly isIndexed?: boolean;
}

export interface ThroughReport {
  readonly produced: readonly Tally[];
  readonly consumed: readonly Tally[];
  readonly produceSecs: number;
  /** From the last acknowledgement until the WAL is empty. */
  readonly archiveSecs: number;
  /** Until no archive is without its index; 0 unless that is asked for. */
  readonly indexSecs: number;
  readonly consumeSecs: number;
  readonly refusedBatches: number;
  readonly throttledSecs: number;
  /** Most bytes on disk at a time, by folder of the data directory, space reserved included. */
  readonly diskBytesMax: Readonly<Record<string, number>>;
  /** Most bytes of user topics' WAL as the broker counts them. */
  readonly walBytesMax: number;
  /** Most resident bytes at any look while the phase ran; `heap` is what is no file's. */
  readonly residentBytesMax: Readonly<Record<Phase, { all: number; heap: number }>>;
  readonly brokerCpuSecs: Readonly<Record<string, number>>;
  readonly archives: number;
  readonly archiveBytes: number;
  readonly chunks: number;
  /** Ranged reads of the store while consuming; null with the local store. */
  readonly gets: number | null;
  readonly indexes: Readonly<Record<string, number>>;
}

const topic = "through";
const watchedFolders = ["wal", "cache", "tmp"] as const;
const sampleMs = 200;

/** Everything in, through a small WAL into the store, and out again from offset 0. */
export async function runThrough(options: ThroughOptions): Promise<ThroughReport> {
  await using server = options.store === "s3" ? await startS3() : null;
  await using proxy = server === null ? null : await FaultProxy.start(server.endpoint);
  const store = proxy && server ? s3Environment(proxy.endpoint, server.bucket) : {};
  await using broker = await startBroker({
    args: [
      ["--wal-indexing-interval", "5", "-X", "min_segment_age_secs=1"],
      ["-X", `wal.max_bytes=${options.walBytesMax}`],
      "cache.maxBytes" in settings ? ["-X", `cache.max_bytes=${options.cacheBytesMax}`] : [],
    ].flat(),
    env: store,
  });
  const kafka = await Kafka.connect(broker.kafkaPort);
  // The records have old timestamps: what retention would soon take gets no index.
  const configs: Record<string, string> = options.isIndexed ? { "retention.ms": "-1" } : {};
  await kafka.createTopic(topic, options.partitions, configs);
  kafka.close();
  const folder = server === null ? broker.dataDir : s3Folder(server);
  await using watch = new Watch(broker);

  const producers = Array.from(
    { length: options.partitions },
    (_, partition) => new ThroughProducer(topic, partition),
  );
  const share = options.bytes / options.partitions;
  const producing = await timed(broker, () =>
    Promise.all(producers.map((producer) => producer.run(broker.kafkaPort, share))),
  );
  watch.phase = "archive";
  const archiving = await timed(broker, () => untilWalIsEmpty(broker));
  watch.phase = "index";
  const indexing = await timed(broker, async () => {
    if (options.isIndexed === true) await untilIndexed(broker);
  });
  proxy?.will();
  watch.phase = "consume";
  const consuming = await timed(broker, () =>
    Promise.all(producers.map((_, at) => consumeThrough(broker.kafkaPort, topic, at))),
  );
  watch.check();

  const segments = await registrySegments(broker);
  const modes = segments.map((segment) => (segment as { index?: string }).index ?? "");
  return {
    produced: producing.result,
    consumed: consuming.result,
    produceSecs: producing.secs,
    archiveSecs: archiving.secs,
    indexSecs: indexing.secs,
    consumeSecs: consuming.secs,
    refusedBatches: producers.reduce((sum, { refused }) => sum + refused, 0),
    throttledSecs: producers.reduce((sum, { throttledMs }) => sum + throttledMs, 0) / 1000,
    ...watch.most(),
    brokerCpuSecs: {
      produce: producing.cpuSecs,
      archive: archiving.cpuSecs,
      index: indexing.cpuSecs,
      consume: consuming.cpuSecs,
    },
    archives: segments.length,
    archiveBytes: segments.reduce((sum, { bytes }) => sum + bytes, 0),
    chunks: segments.reduce((sum, { key }) => sum + chunksOf(join(folder, key)), 0),
    gets: proxy === null ? null : readsIn(proxy),
    indexes: Object.fromEntries(
      [...Map.groupBy(modes, (mode) => mode)].map(([mode, of]) => [mode, of.length]),
    ),
  };
}

/** The figures of a report that have a measure, and whether what came out is what went in. */
export function summaryOf(report: ThroughReport): Record<string, unknown> {
  const MiB = 1 << 20;
  const { produced, consumed, archives, chunks, gets, archiveBytes } = report;
  const bytes = produced.reduce((sum, tally) => sum + tally.bytes, 0);
  const mib = (count: number) => Math.round(count / MiB);
  const rate = (secs: number) => Math.round(bytes / MiB / secs);
  return {
    identical: JSON.stringify(produced) === JSON.stringify(consumed),
    records: produced.reduce((sum, { records }) => sum + records, 0),
    mib: mib(bytes),
    secs: {
      produce: Math.round(report.produceSecs),
      archive: Math.round(report.archiveSecs),
      index: Math.round(report.indexSecs),
      consume: Math.round(report.consumeSecs),
    },
    mib_per_sec: {
      in: rate(report.produceSecs + report.archiveSecs),
      out: rate(report.consumeSecs),
    },
    broker_cpu_secs: report.brokerCpuSecs,
    refused_batches: report.refusedBatches,
    throttled_secs: Math.round(report.throttledSecs),
    wal_mib_max: mib(report.walBytesMax),
    disk_mib_max: Object.fromEntries(
      Object.entries(report.diskBytesMax).map(([folder, most]) => [folder, mib(most)]),
    ),
    resident_mib_max: Object.fromEntries(
      Object.entries(report.residentBytesMax).map(([phase, { all, heap }]) => [
        phase,
        { all: mib(all), heap: mib(heap) },
      ]),
    ),
    archives,
    archive_mib: mib(archiveBytes),
    indexes: report.indexes,
    ...(gets !== null && {
      gets,
      // One for each table of contents and each chunk; reading ahead may join chunks.
      gets_of_single_chunks: archives + chunks,
      gets_per_mib: Math.round((gets / (bytes / MiB)) * 1000) / 1000,
    }),
  };
}

async function timed<T>(broker: BrokerProcess, work: () => Promise<T>) {
  const [startMs, startCpu] = [performance.now(), cpuSecs(broker.pid)];
  const result = await work();
  const secs = (performance.now() - startMs) / 1000;
  return { result, secs, cpuSecs: Math.round((cpuSecs(broker.pid) - startCpu) * 10) / 10 };
}

async function untilWalIsEmpty(broker: BrokerProcess): Promise<void> {
  const isEmpty = async () => {
    const partitions = (await walPartitions(broker)).filter((one) => one.topic === topic);
    return partitions.every(({ segments }) => segments.length === 0);
  };
  await until("everything is archived", 3_600_000, isEmpty, 250);
}

async function untilIndexed(broker: BrokerProcess): Promise<void> {
  const isDone = async () => {
    const segments = (await registrySegments(broker)).filter((one) => one.topic === topic);
    return segments.every((segment) => (segment as { index?: string }).index !== "pending");
  };
  await until("every archive has its index", 7_200_000, isDone, 1_000);
}

/** From the locator in the last bytes of the archive, see ffi/src/archive/FORMAT.md. */
function chunksOf(path: string): number {
  const size = statSync(path).size;
  const read = (position: number, length: number): Buffer => {
    const bytes = Buffer.alloc(length);
    const file = openSync(path, "r");
    readSync(file, bytes, 0, length, position);
    closeSync(file);
    return bytes;
  };
  const locator = read(size - 54, 54);
  if (locator.toString("latin1", 16, 24) !== "CHRNKTOC") throw new Error(`${path} has no locator`);
  const position = Number(locator.readBigUInt64LE(24));
  const member = read(position, Number(locator.readBigUInt64LE(32)));
  const toc = JSON.parse(Buffer.from(Bun.gunzipSync(new Uint8Array(member))).toString()) as {
    batches: { chunks: unknown[] };
  };
  return toc.batches.chunks.length;
}

function readsIn(proxy: FaultProxy): number {
  return proxy.seen.filter(({ method, path }) => method === "GET" && /tantivy_indexes/.test(path))
    .length;
}

/** The most that was there at any look. */
class Watch implements AsyncDisposable {
  phase: Phase = "produce";
  private readonly broker: BrokerProcess;
  private readonly diskBytes: Record<string, number> = {};
  private readonly resident = {
    produce: { all: 0, heap: 0 },
    archive: { all: 0, heap: 0 },
    index: { all: 0, heap: 0 },
    consume: { all: 0, heap: 0 },
  };
  private walBytes = 0;
  private ended = false;
  private readonly looking: Promise<void>;

  constructor(broker: BrokerProcess) {
    this.broker = broker;
    this.looking = this.look();
  }

  /** Throws what the last looks met. */
  check(): void {
    if (this.walBytes === 0) throw new Error("the WAL was never looked at");
  }

  most() {
    return {
      diskBytesMax: this.diskBytes,
      walBytesMax: this.walBytes,
      residentBytesMax: this.resident,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.ended = true;
    await this.looking;
  }

  private async look(): Promise<void> {
    while (!this.ended) {
      for (const name of watchedFolders) {
        const bytes = blocksIn(join(this.broker.dataDir, name));
        this.diskBytes[name] = Math.max(this.diskBytes[name] ?? 0, bytes);
      }
      const status = readFileSync(`/proc/${this.broker.pid}/status`, "utf8");
      const most = this.resident[this.phase];
      most.all = Math.max(most.all, bytesOf(status, "VmRSS"));
      most.heap = Math.max(most.heap, bytesOf(status, "RssAnon"));
      const page = await fetch(`${this.broker.adminUrl}/metrics`).then(
        (answer) => answer.text(),
        () => "",
      );
      const bytes = Number(/^chronik_wal_user_bytes (\d+)/m.exec(page)?.[1] ?? 0);
      this.walBytes = Math.max(this.walBytes, bytes);
      await Bun.sleep(sampleMs);
    }
  }
}

function bytesOf(status: string, name: string): number {
  return Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0) * 1024;
}

/** Files come and go meanwhile. */
function blocksIn(folder: string): number {
  let bytes = 0;
  try {
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      bytes += statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.blocks ?? 0;
    }
  } catch {
    return 0;
  }
  return bytes * 512;
}

/** `bun scripts/bench-tiers-through.ts [--gib N] [--store local|s3] [--indexed]`: 20 GiB through a
 * WAL of 1 GiB and a cache of 256 MiB, as one JSON line. Uses dist/chronik. */
if (import.meta.main) {
  await main(async () => {
    const args = process.argv.slice(2);
    const after = (flag: string) => args[args.indexOf(flag) + 1];
    const gib = args.includes("--gib") ? Number(after("--gib")) : 20;
    const store = args.includes("--store") ? after("--store") : "s3";
    if (!(gib > 0)) throw new ScriptError("--gib takes a number above 0");
    if (store !== "s3" && store !== "local") throw new ScriptError("--store takes local or s3");
    const report = await runThrough({
      bytes: gib * 2 ** 30,
      walBytesMax: 2 ** 30,
      cacheBytesMax: 256 << 20,
      partitions: 4,
      store,
      isIndexed: args.includes("--indexed"),
    });
    const summary = summaryOf(report);
    print(`through_${gib}_gib_${store}`, summary);
    return summary["identical"] === true ? 0 : 1;
  });
}
