import type { Clock } from "../../lib/clock.ts";
import { errorText } from "../../lib/errors.ts";
import type { Logger } from "../../telemetry/logger.ts";
import { adviceOf, type Findings } from "./findings.ts";
import type { RoundCounts } from "./scrub-state.ts";

/** Damage of one partition's WAL files; offsets inclusive, null where they are not known. */
export interface WalFinding {
  readonly file: string;
  readonly reason: string;
  readonly first: number | null;
  readonly last: number | null;
}

/** A partition whose WAL files can be read from end to end. */
export interface ScrubbedWal {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  verify(): Promise<{ readonly bytes: number; readonly findings: readonly WalFinding[] }>;
}

/** Reads one partition's WAL and notes what is damaged; returns how many places are. Nothing is
 * quarantined: each read verifies its frames, and fails for the damaged ones alone. */
export async function checkWal(
  wal: ScrubbedWal,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
  findings: Findings,
  counts: RoundCounts,
): Promise<number> {
  const { topic, topicId, partition } = wal;
  let report: Awaited<ReturnType<ScrubbedWal["verify"]>>;
  try {
    report = await wal.verify();
  } catch (error) {
    counts.unchecked++;
    const text = "the WAL of a partition could not be verified";
    logger.warn(text, { topic, partition, error: errorText(error) });
    return 0;
  }
  findings.removeWal(topicId, partition);
  for (const { file, reason, first, last } of report.findings) {
    const place = { topic, topicId, partition, first, last, key: file };
    findings.add({ kind: "wal", ...place, reason, foundMs: clock.nowMs() });
    logger.error("a WAL file is damaged", {
      ...{ topic, partition, first_offset: first, last_offset: last, file, reason },
      do: adviceOf({ kind: "wal" }),
    });
  }
  counts.bytes += report.bytes;
  counts.damaged += report.findings.length;
  return report.findings.length;
}
