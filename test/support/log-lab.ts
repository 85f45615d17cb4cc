import {
  defaultLogLimits,
  defaultPartitionLogConfig,
  type LogLimits,
  type PartitionLogConfig,
} from "../../src/log/config.ts";
import type { Partition } from "../../src/log/partition.ts";
import type { LogEvents } from "../../src/log/partition-parts.ts";
import { Partitions } from "../../src/log/partitions.ts";
import type { Damage } from "../../src/log/ports.ts";
import { type ColdReader, noColdReader } from "../../src/log/ports.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { type BatchOptions, buildBatch } from "../../src/protocol/records.ts";
import { FakeClock } from "./fake-clock.ts";
import { MemoryDisk, MemoryFiles, MemoryWal } from "./memory-wal.ts";

export const topicA = { name: "a", id: "AAAAAAAAAAAAAAAAAAAAAQ", internal: false };
export const topicB = { name: "b", id: "AAAAAAAAAAAAAAAAAAAAAg", internal: false };

export interface LabOptions {
  auto?: boolean;
  limits?: Partial<LogLimits>;
  cold?: ColdReader;
  disk?: MemoryDisk;
  clock?: FakeClock;
}

/** Partitions over memory, with everything a test wants to turn. */
export class LogLab {
  readonly clock: FakeClock;
  readonly disk: MemoryDisk;
  readonly wal: MemoryWal;
  readonly files: MemoryFiles;
  readonly partitions: Partitions;
  readonly heard: string[] = [];
  private readonly options: LabOptions;

  constructor(options: LabOptions = {}) {
    this.options = options;
    this.clock = options.clock ?? new FakeClock();
    this.disk = options.disk ?? new MemoryDisk();
    this.wal = new MemoryWal(this.disk, options.auto ?? true);
    this.files = new MemoryFiles(this.disk);
    const events: LogEvents = {
      damaged: (_partition, damage: Damage) => this.heard.push(`damaged: ${damage.reason}`),
      rolledBack: (_partition, error) => this.heard.push(`rolled back: ${error.code}`),
      unreadable: (_partition, offset, error) =>
        this.heard.push(`unreadable: ${offset} ${error.code}`),
      checkpointFailed: () => this.heard.push("checkpoint failed"),
      abortsRebuilt: (file) => this.heard.push(`aborts rebuilt: ${file}`),
      abortsNotRebuilt: (file) => this.heard.push(`aborts not rebuilt: ${file}`),
      logStartMoved: (partition) => this.heard.push(`starts at ${partition.logStartOffset}`),
      quarantined: (from, to) => this.heard.push(`quarantined: ${from} ${to}`),
    };
    this.partitions = new Partitions({
      dataDir: "/data",
      wal: this.wal,
      files: this.files,
      cold: options.cold ?? noColdReader,
      clock: this.clock,
      limits: { ...defaultLogLimits, ...options.limits },
      events,
    });
  }

  open(
    config: Partial<PartitionLogConfig> = {},
    leaderEpoch = 0,
    topic = topicA,
    index = 0,
  ): Promise<Partition> {
    const full = { ...defaultPartitionLogConfig, ...config };
    return this.partitions.open(topic, index, leaderEpoch, full);
  }

  /** What a process that starts after kill -9 finds: completed appends and written files. */
  restart(options: LabOptions = {}): LogLab {
    return new LogLab({ ...this.options, ...options, disk: this.disk, clock: this.clock });
  }
}

export interface BatchSpec extends BatchOptions {
  /** null: a tombstone. */
  values?: (string | null)[];
  keys?: (string | null)[];
  timestamps?: number[];
}

/** One batch; a value per record. */
export function batch(spec: BatchSpec = {}): Uint8Array {
  const values = spec.values ?? ["v"];
  const encode = (text: string | null | undefined) => (text == null ? null : Buffer.from(text));
  const records = values.map((value, offsetDelta) => ({
    offsetDelta,
    timestamp: spec.timestamps?.[offsetDelta] ?? 1_700_000_000_000,
    key: spec.keys === undefined ? Buffer.from("k") : encode(spec.keys[offsetDelta]),
    value: encode(value),
    headers: [],
  }));
  return buildBatch(records, spec, crc32c);
}

/** An idempotent batch of `count` records. */
export function idempotent(
  producerId: number,
  producerEpoch: number,
  baseSequence: number,
  count = 1,
): Uint8Array {
  const values = Array.from({ length: count }, (_, n) => `${producerId}/${baseSequence + n}`);
  return batch({ values, producerId, producerEpoch, baseSequence });
}

/** One turn of the event loop: everything that can settle without outside help has. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
