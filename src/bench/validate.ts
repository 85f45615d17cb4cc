import type { Clock } from "../lib/clock.ts";
import { BrokerError } from "../lib/errors.ts";
import type { Crc32c } from "../protocol/crc32c.ts";
import type { Cluster } from "./cluster.ts";
import { Ledger } from "./ledger.ts";
import { BenchReader } from "./reader.ts";
import type { Validation } from "./report.ts";

/** Longest time without a new record before the rest counts as lost. */
const silenceMsMax = 30_000;

export interface ValidationOptions {
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly crc: Crc32c;
  /** First offset of the run, by partition. */
  readonly starts: readonly number[];
  /** What was acknowledged, by partition. */
  readonly produced: readonly Ledger[];
  /** Whether base offsets were told, so that digests can be compared (not with acks=0). */
  readonly offsetsKnown: boolean;
}

/**
 * Reads everything from the first offset of the run to the end of the log and compares counts,
 * offsets and checksums with what was acknowledged. Only the run may write to the topic meanwhile,
 * and the topic must keep batches as they are sent (no recompression, no LogAppendTime).
 */
export async function validate(
  options: ValidationOptions,
): Promise<{ validation: Validation; errors: string[] }> {
  const { cluster, clock, produced, offsetsKnown } = options;
  const startMs = clock.monotonicMs();
  const read = await readBack(options);
  const errors: string[] = [];
  for (const [partition, ledger] of read.entries()) {
    const expected = produced[partition] ?? new Ledger();
    if (ledger.records !== expected.records) {
      const counts = `${expected.records} records were acknowledged, ${ledger.records} came back`;
      errors.push(`partition ${partition}: ${counts}`);
    } else if (offsetsKnown && ledger.digest !== expected.digest) {
      errors.push(`partition ${partition}: other bytes or offsets came back than were produced`);
    }
  }
  return {
    errors,
    validation: {
      ok: errors.length === 0 && read.length === cluster.partitionCount,
      records: read.reduce((sum, { records }) => sum + records, 0),
      batches: read.reduce((sum, { batches }) => sum + batches, 0),
      digestProduced: offsetsKnown ? joined(produced) : null,
      digestRead: joined(read),
      elapsedSecs: (clock.monotonicMs() - startMs) / 1000,
    },
  };
}

async function readBack(options: ValidationOptions): Promise<Ledger[]> {
  const { cluster, clock, crc, starts } = options;
  const ends = await cluster.offsets(-1);
  const ledgers = ends.map(() => new Ledger());
  for (const { client, partitions } of await cluster.connect(1)) {
    const wanted = partitions.filter((partition) => {
      return (starts[partition] ?? 0) < (ends[partition] ?? 0);
    });
    const positions = new Map(wanted.map((partition) => [partition, starts[partition] ?? 0]));
    const reader = new BenchReader({ client, topic: cluster.topic, positions, crc });
    let progressMs = clock.monotonicMs();
    while (positions.size > 0) {
      const batches = await reader.read();
      for (const batch of batches) {
        ledgers[batch.partition]?.add(batch.baseOffset, batch.count, batch.crc);
      }
      for (const [partition, position] of positions) {
        if (position >= (ends[partition] ?? 0)) positions.delete(partition);
      }
      if (batches.length > 0) progressMs = clock.monotonicMs();
      if (clock.monotonicMs() - progressMs > silenceMsMax) {
        throw new BrokerError("CHRONIK_BENCH", "reading back stalled: records are missing");
      }
    }
  }
  return ledgers;
}

function joined(ledgers: readonly Ledger[]): string {
  const all = new Ledger();
  for (const [partition, ledger] of ledgers.entries()) {
    all.add(partition, ledger.records, Number.parseInt(ledger.digest.slice(0, 8), 16));
  }
  return all.digest;
}
