/** Random histories of keys, tombstones, transactions, restarts, crashes and cleanings: what
 * readers of both isolations see is exactly what a reference says, record by record. */
import { describe, expect, test } from "bun:test";
import type { Partition } from "../../src/log/partition.ts";
import { NativeWal } from "../../src/native/wal.ts";
import {
  batchesIn,
  compressionOf,
  isControl,
  isTransactional,
  lastOffset,
  recordsPayload,
} from "../../src/protocol/record-batch.ts";
import { parseRecords } from "../../src/protocol/records.ts";
import { CompactionLab, type CompactionLabOptions } from "../support/compaction-lab.ts";
import { CompactionModel, type Seen, tableOf } from "../support/compaction-model.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { batch } from "../support/log-lab.ts";
import { MemoryJournal } from "../support/memory-journal.ts";
import { hasLibrary, tempDir } from "../support/native.ts";
import { Random } from "../support/random.ts";

const seeds = Number(process.env["CHRONIK_COMPACTION_SEEDS"] ?? 60);
const firstSeed = Number(process.env["CHRONIK_COMPACTION_SEED"] ?? 1);
const client = { origin: "client" } as const;
const codecs = ["none", "gzip", "snappy", "lz4", "zstd"] as const;
const faults = ["rewrite-put", "rewrite-replace", "rewrite-replaced"] as const;
const producers = [1, 2, 3];
const codecIds: Record<string, number> = { gzip: 1, snappy: 2, lz4: 3, zstd: 4 };
const decoder = new TextDecoder();

/** Batches as a consumer of Kafka's reads them: what it returns to its application. */
async function consume(lab: CompactionLab, committed: boolean, bytesMax: number): Promise<Seen[]> {
  const { partition } = lab;
  const wal = new NativeWal(lab.log.engine);
  const end = committed ? partition.lastStableOffset : partition.highWatermark;
  const seen: Seen[] = [];
  for (let offset = partition.logStartOffset; offset < end; ) {
    const options = { offset, bytesMax, offsetLimit: end, withAborted: committed };
    const read = await partition.read(options);
    expect(read.errorCode).toBe(0);
    // A reader that stands still would wait for ever.
    expect(read.nextOffset).toBeGreaterThan(offset);
    const aborts = [...(read.aborted ?? [])].sort((a, b) => a.firstOffset - b.firstOffset);
    const aborting = new Set<number>();
    for (const chunk of read.chunks) {
      for (const { position, header } of batchesIn(chunk)) {
        while (aborts[0] && aborts[0].firstOffset <= lastOffset(header)) {
          aborting.add(aborts.shift()?.producerId ?? -1);
        }
        const codec = compressionOf(header.attributes) ?? "none";
        const stored = recordsPayload(chunk, position, header);
        const payload =
          codec === "none" || header.recordsCount === 0
            ? stored
            : await wal.decompress(codecIds[codec] ?? 0, stored, 1 << 24);
        const records = parseRecords(payload, header);
        if (isControl(header.attributes)) {
          const type = records[0]?.key
            ? new DataView(records[0].key.slice().buffer).getInt16(2)
            : -1;
          if (type === 0) aborting.delete(header.producerId);
          continue;
        }
        if (isTransactional(header.attributes) && aborting.has(header.producerId)) continue;
        for (const record of records) {
          const at = header.baseOffset + record.offsetDelta;
          if (at < offset) continue;
          seen.push({
            offset: at,
            key: record.key && decoder.decode(record.key),
            value: record.value && decoder.decode(record.value),
            timestamp: record.timestamp,
          });
        }
      }
    }
    offset = read.nextOffset;
  }
  return seen;
}

class World {
  readonly model = new CompactionModel();
  readonly random: Random;
  readonly clock = new FakeClock();
  readonly options: CompactionLabOptions;
  lab!: CompactionLab;
  rounds = 0;
  private readonly sequences = new Map<number, number>();
  private readonly open = new Set<number>();
  private epoch = 0;

  constructor(seed: number, dir: string) {
    const random = new Random(seed);
    this.random = random;
    this.options = {
      dir,
      clock: this.clock,
      journal: new MemoryJournal(),
      settings: {
        dirtyRatioMin: random.pick([0, 0, 0.4]),
        lagMsMin: random.pick([0, 0, 500]),
        lagMsMax: random.pick([Number.MAX_SAFE_INTEGER, 3_000]),
        deleteRetentionMs: random.pick([1, 400, 2_000]),
      },
      keysMax: random.pick([null, null, 3]),
      archiveBytesMax: random.pick([1, 700, 1 << 20]),
    };
  }

  async start(): Promise<void> {
    this.lab = await CompactionLab.open(this.options);
    expect(this.lab.partition.damage).toBeNull();
  }

  async restart(): Promise<void> {
    await this.lab.close();
    this.epoch += 1;
    await this.start();
  }

  async step(): Promise<void> {
    const roll = this.random.between(1, 20);
    if (roll <= 9) await this.write();
    else if (roll <= 12) await this.end(this.random.pick(producers), this.random.next() < 0.5);
    else if (roll <= 15) await this.lab.archive();
    else if (roll <= 16) this.clock.advance(this.random.between(1, 1_500));
    else if (roll <= 18) await this.compact();
    else if (roll <= 19) await this.crash();
    else await this.restart();
  }

  private async write(): Promise<void> {
    const { random, lab } = this;
    lab.useCodec(random.pick(codecs));
    const who = random.next() < 0.5 ? null : random.pick(producers);
    const count = random.between(1, 5);
    // Records without a key come from before the topic was compacted.
    const keyless = random.next() < 0.1;
    lab.partition.config = { ...lab.partition.config, compact: !keyless };
    const keys = Array.from({ length: count }, () =>
      keyless && random.next() < 0.5 ? null : `k${random.between(0, 9)}`,
    );
    const values = keys.map((key, at) =>
      random.next() < 0.25 ? null : `${key}-${at}-${"x".repeat(random.between(0, 40))}`,
    );
    const timestamps = keys.map(() => this.clock.nowMs() - random.between(0, 100));
    const sequence = this.sequences.get(who ?? 0) ?? 0;
    const producer =
      who === null
        ? {}
        : { producerId: who, producerEpoch: 0, baseSequence: sequence, isTransactional: true };
    const bytes = batch({ keys, values, timestamps, ...producer });
    const result = await lab.partition.append(bytes, client);
    expect(result.errorCode).toBe(0);
    if (who !== null) {
      this.sequences.set(who, sequence + count);
      this.open.add(who);
    }
    for (const [at, key] of keys.entries()) {
      this.model.add({
        offset: result.baseOffset + at,
        key,
        value: values[at] ?? null,
        timestamp: timestamps[at] ?? 0,
        batch: result.baseOffset,
        producer: who,
      });
    }
  }

  private async end(who: number, commit: boolean): Promise<void> {
    if (!this.open.delete(who)) return;
    const result = await endTransaction(this.lab.partition, who, commit, this.epoch);
    expect(result.errorCode).toBe(0);
    this.model.end(who, commit);
  }

  async compact(): Promise<number> {
    const { lab, model } = this;
    const entries = [...lab.entries];
    const rounds = await lab.run();
    for (const round of rounds) {
      const rewritten = entries.filter((entry) => entry.base < round.cleanedTo);
      model.clean({
        mapEnd: round.cleanedTo,
        rewrittenTo: rewritten.at(-1)?.last ?? -1,
        nowMs: round.nowMs,
        retentionMs: this.options.settings.deleteRetentionMs,
      });
      this.rounds++;
    }
    return rounds.length;
  }

  /** A round that ends at some fault point of some archive, and the process with it. */
  private async crash(): Promise<void> {
    const { lab, model, random } = this;
    const name = random.pick(faults);
    let passes = random.between(0, 3);
    lab.mapEnd = -1;
    lab.replaced.length = 0;
    const nowMs = this.clock.nowMs();
    lab.fault = (at) => {
      if (at === name && passes-- === 0) throw new Error(`killed at ${name}`);
    };
    const entries = [...lab.entries];
    const rounds = await lab.run();
    lab.fault = () => undefined;
    // What was not replaced before the crash is as it was; what needed no replacement as well.
    const [round] = rounds;
    const rewritten = entries.filter((entry) => entry.base < lab.mapEnd);
    const rewrittenTo = round ? (rewritten.at(-1)?.last ?? -1) : (lab.replaced.at(-1) ?? -1);
    model.clean({
      mapEnd: lab.mapEnd,
      rewrittenTo,
      nowMs,
      retentionMs: this.options.settings.deleteRetentionMs,
    });
    await this.restart();
  }

  async check(): Promise<void> {
    const { lab, model, random } = this;
    const { partition } = lab;
    const bytesMax = random.pick([1, 150, 1 << 20]);
    const stable = partition.lastStableOffset;
    expect(await consume(lab, true, bytesMax)).toEqual(model.visible(stable));
    expect(await consume(lab, false, bytesMax)).toEqual(model.visible(null));
    const [some] = model.visible(null).slice(random.between(0, 5));
    if (!some) return;
    const hit = await partition.offsetForTimestamp(some.timestamp, "read_uncommitted");
    const first = model.visible(null).find(({ timestamp }) => timestamp >= some.timestamp);
    // A marker may come before the record.
    expect(hit.offset).toBeGreaterThanOrEqual(0);
    expect(hit.offset).toBeLessThanOrEqual(first?.offset ?? -1);
  }

  /** Everything decided, archived, and compacted until no tombstone is left. */
  async finish(): Promise<void> {
    const { lab, clock } = this;
    for (const who of producers) await this.end(who, true);
    await lab.archive();
    const { settings } = this.options;
    clock.advance(settings.lagMsMin + 10_000);
    for (let looks = 0; looks < 200 && (await this.compact()) > 0; looks++);
    await this.check();
    const end = lab.partition.highWatermark;
    const seen = await consume(lab, true, 1 << 20);
    expect(tableOf(seen)).toEqual(this.model.table(end));
  }
}

function endTransaction(partition: Partition, who: number, commit: boolean, epoch: number) {
  const version = { producerEpoch: 0, transactionVersion: 1, coordinatorEpoch: epoch };
  return partition.appendMarker({ producerId: who, commit, ...version });
}

describe.skipIf(!hasLibrary)("compaction", () => {
  test(
    `agrees with the reference over ${seeds} seeds`,
    async () => {
      let [rounds, removed] = [0, 0];
      for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
        using dir = tempDir();
        const world = new World(seed, dir.path);
        try {
          await world.start();
          const steps = world.random.between(10, 45);
          for (let step = 0; step < steps; step++) {
            await world.step();
            if (world.random.next() < 0.2) await world.check();
          }
          await world.finish();
          await world.lab.close();
        } catch (error) {
          throw new Error(`CHRONIK_COMPACTION_SEED=${seed} CHRONIK_COMPACTION_SEEDS=1`, {
            cause: error,
          });
        }
        rounds += world.rounds;
        removed += world.model.removed;
      }
      // The histories do compact.
      expect(rounds).toBeGreaterThan(seeds);
      expect(removed).toBeGreaterThan(seeds * 5);
    },
    seeds * 2_000 + 60_000,
  );
});
