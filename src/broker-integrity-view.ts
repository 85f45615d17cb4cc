import { adviceOf, type Finding } from "./tier/check/findings.ts";
import type { OrphanReport } from "./tier/check/orphans.ts";
import type { Scrub } from "./tier/check/scrub.ts";

/** The answer of `GET /admin/integrity`. */
export function integrityView(scrub: Scrub): unknown {
  const status = scrub.status();
  const { round, lastRound: last, run } = status;
  return {
    scrub: {
      enabled: status.config.enabled,
      bytes_per_sec: status.config.bytesPerSec,
      interval_secs: status.config.intervalMs / 1_000,
      round: round && {
        started_at: timeOf(round.startedMs),
        total: round.total,
        ...countsOf(round),
      },
      last_round: last && {
        started_at: timeOf(last.startedMs),
        finished_at: timeOf(last.finishedMs),
        ...countsOf(last),
      },
      next_round_at: timeOf(status.nextRoundMs),
    },
    run: run && {
      depth: run.depth,
      started_at: timeOf(run.startedMs),
      finished_at: timeOf(run.finishedMs),
      total: run.total,
      checked: run.checked,
      damaged: run.damaged,
      unchecked: run.unchecked,
      error: run.error,
    },
    since_start: {
      verified: status.verified,
      damaged: status.damaged,
      bytes_read: status.bytesRead,
    },
    quarantined: status.quarantined,
    findings: status.findings.map(findingView),
    findings_not_shown: status.findingsDropped,
    orphans: status.orphans && orphansView(status.orphans),
  };
}

function countsOf(counts: {
  readonly checked: number;
  readonly bytes: number;
  readonly damaged: number;
  readonly unchecked: number;
}) {
  const { checked, bytes, damaged, unchecked } = counts;
  return { checked, bytes, damaged, unchecked };
}

/** A finding as it is shown: in JSON, by the admin API and by `chronik segment verify`. */
export function findingView(finding: Finding) {
  return {
    kind: finding.kind,
    topic: finding.topic,
    topic_id: finding.topicId,
    partition: finding.partition,
    first_offset: finding.first,
    last_offset: finding.last,
    key: finding.key,
    reason: finding.reason,
    do: adviceOf(finding),
    found_at: timeOf(finding.foundMs),
  };
}

/** The first objects that nothing names, and how many there are. */
export function orphansView(report: OrphanReport) {
  return {
    listed_at: timeOf(report.listedMs),
    objects_listed: report.objects,
    orphans: report.orphans,
    orphan_bytes: report.orphanBytes,
    too_young_to_tell: report.young,
    list: report.list.map(({ key, bytes, ageMs }) => ({
      key,
      bytes,
      age_secs: ageMs === null ? null : Math.floor(ageMs / 1_000),
    })),
  };
}

function timeOf(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
