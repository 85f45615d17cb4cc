import { rewriteSpec, type SummaryJson, summaryOf } from "./broker-archives.ts";
import type { Clock } from "./lib/clock.ts";
import type { Metadata } from "./metadata/controller.ts";
import { isInternalTopic } from "./metadata/topic-name.ts";
import type { NativeArchives } from "./native/archives.ts";
import type { CompactionSettings, Rewrites } from "./tier/compaction.ts";
import type { CompactionEngine } from "./tier/ports.ts";
import type { RewriteQueue, Rewriter } from "./tier/rewriter.ts";

/** As ffi/src/jobs/compact.rs answers. */
interface CompactedJson {
  readonly archive: SummaryJson | null;
  readonly bytes_before: number;
  readonly records_before: number;
  readonly writing: readonly number[];
}

/** The native jobs of compaction in the tier room's words. `keysMax`: for tests. */
export function compactionEngine(
  archives: NativeArchives,
  clock: Clock,
  scratchDir: string,
  keysMax: number | null = null,
): CompactionEngine {
  return {
    mapKeys: (source, map, fromOffset) => archives.mapKeys(source, map, fromOffset, keysMax),
    stopBuilds: () => archives.stopBuilds(),
    async compact(request, sources, path, clean) {
      const json = await archives.compactArchive<CompactedJson>({
        sources,
        path,
        scratchDir,
        index: request.index,
        spec: rewriteSpec(request, clock.nowMs()),
        clean: {
          map: clean.map,
          now_ms: clean.nowMs,
          delete_retention_ms: clean.deleteRetentionMs,
          writing: clean.writing,
          always: clean.always,
        },
      });
      return {
        summary: json.archive === null ? null : summaryOf(json.archive),
        bytesBefore: json.bytes_before,
        recordsBefore: json.records_before,
        writing: json.writing,
      };
    },
  };
}

/** What compaction asks of the shared rewriter and its queue. */
export function rewritesOf(rewriter: Rewriter, queue: RewriteQueue): Rewrites {
  return {
    alone: (topicId, partition, work) => queue.run(topicId, partition, work),
    withSources: (entries, work) => rewriter.withSources(entries, work),
    rewrite: (task) => rewriter.rewriteIfChanged({ ...task, merges: 0 }),
  };
}

/** A topic's configs of compaction; null where it is not compacted, or gone. */
export function compactionSettings(metadata: Metadata, topic: string): CompactionSettings | null {
  if (isInternalTopic(topic) || !metadata.image.topicsByName.has(topic)) return null;
  const config = metadata.topicConfig(topic);
  if (!config.compact) return null;
  return {
    dirtyRatioMin: config.cleanableDirtyRatioMin,
    lagMsMin: config.compactionLagMsMin,
    lagMsMax: config.compactionLagMsMax,
    deleteRetentionMs: config.deleteRetentionMs,
  };
}
