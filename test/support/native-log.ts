import type { Clock } from "../../src/lib/clock.ts";
import {
  defaultLogLimits,
  defaultPartitionLogConfig,
  type LogLimits,
  type PartitionLogConfig,
} from "../../src/log/config.ts";
import type { Partition } from "../../src/log/partition.ts";
import type { LogEvents } from "../../src/log/partition-parts.ts";
import { Partitions } from "../../src/log/partitions.ts";
import { type ColdReader, type Files, noColdReader } from "../../src/log/ports.ts";
import type { NativeEngine } from "../../src/native/engine.ts";
import { NativeFiles } from "../../src/native/files.ts";
import { NativeWal } from "../../src/native/wal.ts";
import { topicA } from "./log-lab.ts";
import { openEngine } from "./native.ts";

const silent: LogEvents = {
  logStartMoved: () => undefined,
  damaged: () => undefined,
  rolledBack: () => undefined,
  unreadable: () => undefined,
  checkpointFailed: () => undefined,
  abortsRebuilt: () => undefined,
  abortsNotRebuilt: () => undefined,
  quarantined: () => undefined,
};

export interface NativeLog {
  readonly engine: NativeEngine;
  readonly partitions: Partitions;
  readonly partition: Partition;
  close(): Promise<void>;
}

/** One partition over the real engine. */
export async function openNative(
  dataDir: string,
  clock: Clock,
  options: {
    cold?: ColdReader | ((engine: NativeEngine) => ColdReader);
    limits?: Partial<LogLimits>;
    config?: Partial<PartitionLogConfig>;
    leaderEpoch?: number;
    internal?: boolean;
    files?: (files: NativeFiles) => Files;
    events?: Partial<LogEvents>;
  } = {},
): Promise<NativeLog> {
  const engine = await openEngine(dataDir);
  const { cold = noColdReader } = options;
  const partitions = new Partitions({
    dataDir,
    // Compiles only while the native faces satisfy the log's ports.
    wal: new NativeWal(engine),
    files: options.files?.(new NativeFiles(engine)) ?? new NativeFiles(engine),
    cold: typeof cold === "function" ? cold(engine) : cold,
    clock,
    limits: { ...defaultLogLimits, ...options.limits },
    events: { ...silent, ...options.events },
  });
  const config = { ...defaultPartitionLogConfig, ...options.config };
  const topic = { ...topicA, internal: options.internal ?? false };
  const partition = await partitions.open(topic, 0, options.leaderEpoch ?? 0, config);
  const close = async () => {
    await partitions.close();
    await engine.close();
  };
  return { engine, partitions, partition, close };
}
