import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { settings } from "../../src/config-settings.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { ErrorCode, errorName } from "../../src/protocol/error-code.ts";
import { produceApi } from "../../src/protocol/messages/00-produce.ts";
import { buildBatch } from "../../src/protocol/records.ts";
import { registrySegments } from "../support/archives.ts";
import type { BrokerProcess } from "../support/broker-process.ts";
import { accessKey, type S3Server, secretKey } from "../support/s3-server.ts";
import { Kafka } from "./kafka.ts";

const prefix = "cluster-a";

export function s3Environment(endpoint: string, bucket: string): Record<string, string> {
  return {
    OBJECT_STORE_BACKEND: "s3",
    S3_ENDPOINT: endpoint,
    S3_REGION: "us-east-1",
    S3_BUCKET: bucket,
    S3_ACCESS_KEY: accessKey,
    S3_SECRET_KEY: secretKey,
    S3_PREFIX: prefix,
  };
}

/** Where the server keeps the broker's objects, under their keys. */
export function s3Folder(server: S3Server): string {
  return join(server.folder, server.bucket, prefix);
}

/** Small segments, little patience with the store, nothing cached: each cold read asks it. */
export const hurriedStoreArgs: readonly string[] = [
  ["--wal-indexing-interval", "1"],
  ["-X", "min_segment_age_secs=0"],
  ["-X", "wal.segment_bytes_max=1MiB"],
  ["-X", "object_store.attempt_timeout_ms=1000"],
  ["-X", "object_store.read_timeout_ms=2000"],
  ["-X", "object_store.write_timeout_ms=2500"],
  ["-X", "limits.tail_cache_bytes_max=0"],
  ["-X", "limits.chunk_cache_bytes_max=0"],
  "cache.maxBytes" in settings ? ["-X", "cache.max_bytes=0"] : [],
].flat();

interface Pending {
  readonly n: number;
  readonly value: string;
  readonly batch: Uint8Array;
}

const inFlightMax = 5;

/** An idempotent producer of one partition, one record a batch, five in flight. What is refused for
 * now is sent again in its order, as clients do. */
export class Writer {
  /** By offset: what was acknowledged. */
  readonly acked: string[] = [];
  refused = 0;
  throttledMs = 0;
  /** What a refusal said. */
  lastMessage = "";
  private made = 0;
  private producerId = -1;
  private readonly topic: string;
  private readonly valueBytes: number;
  private readonly timeoutMs: number;

  constructor(topic: string, { valueBytes = 1_000, timeoutMs = 30_000 } = {}) {
    this.topic = topic;
    this.valueBytes = valueBytes;
    this.timeoutMs = timeoutMs;
  }

  /** Until `count` more are acknowledged, or `enough` says so after a round. */
  async write(kafka: Kafka, count: number, enough: () => boolean = () => false): Promise<void> {
    if (this.producerId < 0) this.producerId = await kafka.producerId();
    const end = this.acked.length + count;
    let pending: Pending[] = [];
    while (this.acked.length < end && (pending.length > 0 || !enough())) {
      const wanted = enough() ? 0 : Math.min(inFlightMax, end - this.acked.length);
      while (pending.length < wanted) pending.push(this.make());
      const answers = await Promise.all(pending.map((one) => this.send(kafka, one)));
      const stored = answers.findIndex(({ errorCode }) => errorCode !== 0);
      const done = stored < 0 ? pending.length : stored;
      for (const [at, { errorCode, baseOffset, errorMessage }] of answers.entries()) {
        const { n, value } = pending[at] as Pending;
        if (at < done) {
          if (baseOffset !== n) throw new Error(`${this.topic}: ${n} got offset ${baseOffset}`);
          this.acked.push(value);
          continue;
        }
        // Behind one that was refused nothing may be stored: its sequence is missing.
        if (errorCode !== ErrorCode.NOT_ENOUGH_REPLICAS) {
          throw new Error(`${this.topic} ${n}: ${errorName(errorCode)} ${errorMessage}`);
        }
        this.refused++;
        this.lastMessage = errorMessage ?? "";
      }
      pending = pending.slice(done);
    }
  }

  private make(): Pending {
    const n = this.made++;
    const value = `${n}:`.padEnd(this.valueBytes, `${n % 10}`);
    const record = { offsetDelta: 0, timestamp: 1_700_000_000_000 + n, key: null, headers: [] };
    const options = { producerId: this.producerId, producerEpoch: 0, baseSequence: n };
    const batch = buildBatch([{ ...record, value: Buffer.from(value) }], options, crc32c);
    return { n, value, batch };
  }

  private async send(kafka: Kafka, { batch }: Pending) {
    const response = await kafka.client.request(produceApi, 9, {
      transactionalId: null,
      acks: -1,
      timeoutMs: this.timeoutMs,
      topicData: [{ name: this.topic, partitionData: [{ index: 0, records: batch }] }],
    });
    this.throttledMs += response.throttleTimeMs;
    const answer = response.responses[0]?.partitionResponses[0];
    if (!answer) throw new Error("a produce response without the partition");
    return answer;
  }
}

/** Everything of the topic is what was acknowledged: nothing lost, doubled or changed. */
export async function checkTopic(
  broker: BrokerProcess,
  topic: string,
  acked: readonly string[],
): Promise<void> {
  const kafka = await Kafka.connect(broker.kafkaPort);
  try {
    const found = await kafka.values(topic, 0);
    const wrong = acked.findIndex((value, offset) => found[offset] !== value);
    if (wrong >= 0) throw new Error(`${topic} at ${wrong}: ${found[wrong]?.slice(0, 40)}`);
    if (found.length !== acked.length) {
      throw new Error(`${topic}: ${found.length} records and ${acked.length} acknowledged`);
    }
  } finally {
    kafka.close();
  }
}

/** Registry and bucket name the same objects, with the same bytes; objects of `topics` only. */
export async function checkStore(
  broker: BrokerProcess,
  server: S3Server,
  topics: readonly string[],
): Promise<void> {
  const segments = (await registrySegments(broker)).filter(({ topic }) => topics.includes(topic));
  const folder = s3Folder(server);
  for (const { key, bytes, sha256 } of segments) {
    const object = readFileSync(join(folder, key));
    const hash = createHash("sha256").update(object).digest("hex");
    if (object.length !== bytes || hash !== sha256) throw new Error(`${key} is not as registered`);
  }
  const keys = segments.map(({ key }) => key).sort();
  if (new Set(keys).size !== keys.length) throw new Error("an object is named twice");
  const all = topics.flatMap((topic) => objectsOf(folder, topic)).sort();
  // Puts under keys of their own that failed are noted as retired, and are deleted in their time.
  const left = all.filter((key) => !keys.includes(key) && /\.g\d+-[0-9a-f]{8}\./.test(key));
  if (left.length > (await retiredCount(broker))) throw new Error(`${left} are not retired`);
  const stored = all.filter((key) => !left.includes(key));
  if (JSON.stringify(stored) !== JSON.stringify(keys)) {
    throw new Error(`the bucket holds\n${stored.join("\n")}\nand is to hold\n${keys.join("\n")}`);
  }
}

async function retiredCount({ adminUrl }: BrokerProcess): Promise<number> {
  const stats = await (await fetch(`${adminUrl}/admin/indexer/stats`)).json();
  return (stats as { registry: { retired: number } }).registry.retired;
}

function objectsOf(folder: string, topic: string): string[] {
  const below = `tantivy_indexes/${topic}`;
  const entries = readdirSync(join(folder, below), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}
