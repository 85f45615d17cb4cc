import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { recordsPayload } from "../../src/protocol/record-batch.ts";
import { buildBatch, parseRecords, type RecordData } from "../../src/protocol/records.ts";
import type { FoundBatch, Kafka } from "../broker/kafka.ts";
import { type RegistrySegment, registrySegments } from "../support/archives.ts";
import type { BrokerProcess } from "../support/broker-process.ts";

export interface StoreReport {
  readonly entries: number;
  /** Archives made of others among them. */
  readonly rewritten: number;
  /** Objects that no entry names: on their way out, or put right before a kill. */
  readonly unnamed: readonly string[];
}

/** Every entry's object is there with its size and hash; none is named twice; the entries of a
 * partition follow each other. `objects` is the folder that the keys lie under. */
export async function registryAgreesWithStore(
  broker: BrokerProcess,
  objects = broker.dataDir,
): Promise<StoreReport> {
  const segments = await registrySegments(broker);
  const keys = new Set(segments.map(({ key }) => key));
  if (keys.size !== segments.length) throw new Error("an object is named by two entries");
  const byPartition = Map.groupBy(segments, (s) => `${s.topic_id}-${s.partition}`);
  for (const ofPartition of byPartition.values()) checkContiguous(ofPartition);
  const wrong = segments.filter((segment) => !isStored(segment, objects));
  // Merges, retention and deletions go on meanwhile: what is no longer named may be gone.
  const still = await registrySegments(broker);
  for (const { key, bytes } of wrong) {
    if (!still.some((segment) => segment.key === key)) continue;
    throw new Error(`${key} is registered with ${bytes} bytes, and gone or another`);
  }
  for (const { key } of still) keys.add(key);
  const stored = new Bun.Glob("tantivy_indexes/**/*.tar.gz").scanSync(objects);
  return {
    entries: segments.length,
    rewritten: segments.filter(({ generation }) => generation > 1).length,
    unnamed: [...stored].filter((key) => !keys.has(key)),
  };
}

function isStored({ key, bytes, sha256 }: RegistrySegment, objects: string): boolean {
  const object = bytesOf(join(objects, key));
  if (object === null) return false;
  const hash = createHash("sha256").update(object).digest("hex");
  return object.length === bytes && hash === sha256;
}

/** null: it is gone, maybe since a moment. */
function bytesOf(path: string): Buffer | null {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

function checkContiguous(segments: readonly RegistrySegment[]): void {
  const sorted = segments.toSorted((a, b) => a.base_offset - b.base_offset);
  let next: number | null = null;
  for (const { key, base_offset, last_offset } of sorted) {
    if (next !== null && base_offset !== next) throw new Error(`${key} does not begin at ${next}`);
    next = last_offset + 1;
  }
}

/** A load beside the main one that ends with the connection and is looked at after each start. */
export interface SideLoad {
  /** Until the connection is lost. */
  work(kafka: Kafka): Promise<void>;
  /** Throws what is not as it must be. */
  check(kafka: Kafka): Promise<void>;
}

/** Values of one partition by offset, some of which were acknowledged. */
class KnownValues {
  private readonly byOffset = new Map<number, string>();

  add(offset: number, value: string): void {
    this.byOffset.set(offset, value);
  }

  /** `found` is all there is from `start` on. */
  check(what: string, start: number, found: ReadonlyMap<number, string>): void {
    for (const [offset, value] of this.byOffset) {
      if (offset < start) continue;
      const there = found.get(offset);
      if (there !== value) throw new Error(`${what} at ${offset}: ${there?.slice(0, 40)}`);
    }
  }
}

async function readFrom(kafka: Kafka, topic: string, start: number): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  let next = start;
  for (const batch of await kafka.readAll(topic, 0, start)) {
    const { header } = batch;
    if (header.baseOffset < next) throw new Error(`${topic}: ${header.baseOffset} after ${next}`);
    next = header.baseOffset + header.lastOffsetDelta + 1;
    for (const { offsetDelta, key, value } of recordsIn(batch)) {
      const text = `${Buffer.from(key ?? [])}=${Buffer.from(value ?? [])}`;
      found.set(header.baseOffset + offsetDelta, text);
    }
  }
  return found;
}

function recordsIn({ header, bytes }: FoundBatch): RecordData[] {
  return parseRecords(recordsPayload(bytes, 0, header), header);
}

function oneRecord(key: string, value: string): Uint8Array {
  const timestamp = Date.now();
  const record = { offsetDelta: 0, timestamp, key: Buffer.from(key), value: Buffer.from(value) };
  return buildBatch([{ ...record, headers: [] }], {}, crc32c);
}

/** Retention by size, and DeleteRecords now and then: the start only moves on, never past what was
 * to stay, and from it on everything is there. */
export class TrimmedTopic implements SideLoad {
  readonly topic = "trimmed";
  static readonly configs = { "retention.bytes": "1500000", "segment.bytes": "1048576" };
  private readonly values = new KnownValues();
  private start = 0;
  /** The end of what DeleteRecords was asked to remove. */
  private askedStart = 0;
  private readonly sizes: number[] = [];
  private made = 0;

  async work(kafka: Kafka): Promise<void> {
    for (;;) {
      const n = this.made++;
      const value = `trimmed ${n} `.padEnd(20_000 + (n % 7) * 1_000, "t");
      const { errorCode, baseOffset } = await kafka.produce(this.topic, 0, oneRecord("k", value));
      if (errorCode !== 0) throw new Error(`produce to ${this.topic}: error ${errorCode}`);
      this.values.add(baseOffset, `k=${value}`);
      this.sizes[baseOffset] = value.length;
      if (n % 250 !== 249) continue;
      this.askedStart = Math.max(this.askedStart, baseOffset - 20);
      await kafka.deleteRecords(this.topic, 0, this.askedStart);
      this.start = Math.max(this.start, this.askedStart);
    }
  }

  async check(kafka: Kafka): Promise<void> {
    const { offset: start } = await kafka.listOffset(this.topic, 0, -2);
    if (start < this.start) throw new Error(`${this.topic} starts at ${start} after ${this.start}`);
    this.start = start;
    const found = await readFrom(kafka, this.topic, start);
    this.values.check(this.topic, start, found);
    const end = (await kafka.listOffset(this.topic, 0, -1)).offset;
    if (found.size !== end - start) throw new Error(`${this.topic}: ${found.size} of ${end}`);
    const kept = this.sizes.slice(start).reduce((sum, bytes) => sum + bytes, 0);
    const least = Number(TrimmedTopic.configs["retention.bytes"]) * 0.95;
    if (start > this.askedStart && kept < least) {
      throw new Error(`${this.topic} starts at ${start}, where only ${kept} bytes are left`);
    }
  }
}

const keysMax = 40;

/** Of each key the newest value stays, whatever is compacted. */
export class CompactedTopic implements SideLoad {
  static readonly topic = "compacted";
  readonly topic = CompactedTopic.topic;
  static readonly configs = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.01",
    "segment.bytes": "1048576",
  };
  /** By key: the newest acknowledged, and those asked for since that a kill left unanswered. */
  private readonly acked = new Map<string, number>();
  private readonly unanswered = new Map<string, number[]>();
  private made = 0;

  async work(kafka: Kafka): Promise<void> {
    for (;;) {
      const n = this.made++;
      const key = `k${(n * 7) % keysMax}`;
      this.unanswered.set(key, [...(this.unanswered.get(key) ?? []), n]);
      const value = `${n} `.padEnd(10_000, "c");
      const { errorCode } = await kafka.produce(this.topic, 0, oneRecord(key, value));
      if (errorCode !== 0) throw new Error(`produce to ${this.topic}: error ${errorCode}`);
      this.acked.set(key, n);
      this.unanswered.delete(key);
    }
  }

  async check(kafka: Kafka): Promise<void> {
    const newest = new Map<string, number>();
    for (const text of (await readFrom(kafka, this.topic, 0)).values()) {
      const [key = "", value = ""] = text.split("=");
      newest.set(key, Number.parseInt(value, 10));
    }
    for (const [key, n] of this.acked) {
      const found = newest.get(key);
      if (found === n || this.unanswered.get(key)?.includes(found ?? -1)) continue;
      throw new Error(`${this.topic} ${key}: ${found} for ${n}`);
    }
  }
}

/** Topics that come and go, with archives of their own. */
export class PassingTopics implements SideLoad {
  private made = 0;
  private readonly deleted = new Set<string>();
  private readonly adminUrl: string;

  constructor(adminUrl: string) {
    this.adminUrl = adminUrl;
  }

  async work(kafka: Kafka): Promise<void> {
    for (;;) {
      const topic = `passing-${this.made++}`;
      await kafka.createTopic(topic, 1, { "retention.ms": "-1" });
      await kafka.append(topic, 0, ["a", "b", "c"]);
      // What is archived by now leaves objects behind; the run may also meet the deletion.
      await fetch(`${this.adminUrl}/admin/indexer/run`, { method: "POST" }).catch(() => undefined);
      await kafka.deleteTopic(topic);
      this.deleted.add(topic);
    }
  }

  async check(kafka: Kafka): Promise<void> {
    for (const topic of this.deleted) {
      const { errorCode } = await kafka.fetchAt(topic, 0, 0);
      if (errorCode === 0) throw new Error(`${topic} was deleted and is there`);
    }
  }
}

/** Reads all topics from their starts, again and again, so that cold reads fill caches. */
export class ColdReads implements SideLoad {
  private readonly topics: readonly string[];

  constructor(topics: readonly string[]) {
    this.topics = topics;
  }

  async work(kafka: Kafka): Promise<void> {
    for (;;) {
      for (const topic of this.topics) {
        const { offset } = await kafka.listOffset(topic, 0, -2);
        await kafka.fetchAt(topic, 0, offset);
      }
    }
  }

  check(): Promise<void> {
    return Promise.resolve();
  }
}
