/** Figures of compaction since the start; bytes and records of batches, before and after. */
export interface CompactionStats {
  rounds: number;
  errors: number;
  archivesBefore: number;
  archivesAfter: number;
  bytesBefore: number;
  bytesAfter: number;
  recordsBefore: number;
  recordsAfter: number;
  /** Partitions that the last look found due. */
  dirtyPartitions: number;
}

export function noCompactions(): CompactionStats {
  return {
    rounds: 0,
    errors: 0,
    archivesBefore: 0,
    archivesAfter: 0,
    bytesBefore: 0,
    bytesAfter: 0,
    recordsBefore: 0,
    recordsAfter: 0,
    dirtyPartitions: 0,
  };
}

export function countRound(
  stats: CompactionStats,
  round: Omit<CompactionStats, "rounds" | "errors" | "dirtyPartitions">,
): void {
  stats.rounds++;
  stats.archivesBefore += round.archivesBefore;
  stats.archivesAfter += round.archivesAfter;
  stats.bytesBefore += round.bytesBefore;
  stats.bytesAfter += round.bytesAfter;
  stats.recordsBefore += round.recordsBefore;
  stats.recordsAfter += round.recordsAfter;
}
