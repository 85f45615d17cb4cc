import type { SegmentEntry } from "../../../src/tier/registry/segment-registry.ts";
import {
  type CompactionRules,
  dirtyState,
  groupsToRewrite,
  planCompaction,
} from "../../../src/tier/rewrite/compaction-plan.ts";
import { segmentEntry } from "../../support/segment-entry.ts";
import { type Player, parseCommand } from "../play.ts";

/**
 * Plays a transcript against the pure planner of compaction:
 *
 *   rules [ratio=0.5] [min=0] [max=never]            (ms)
 *   archive 0-99 bytes=100 [ts=1-10] [cleaned=100]   (appends; ts: of its records)
 *   drop 1                                           (retention takes the oldest)
 *   plan now=1000
 *   groups end=300 bytes=256 [archives=8]
 */
export class CompactionPlayer implements Player {
  private entries: SegmentEntry[] = [];
  private rules: CompactionRules = defaultRules;

  run(line: string): string[] {
    const { command, words, args } = parseCommand(line);
    const number = (name: string, otherwise: number) => Number(args.get(name) ?? otherwise);
    switch (command) {
      case "rules": {
        const max = args.get("max") ?? "never";
        this.rules = {
          dirtyRatioMin: number("ratio", 0.5),
          lagMsMin: number("min", 0),
          lagMsMax: max === "never" ? Number.MAX_SAFE_INTEGER : Number(max),
        };
        return ["ok"];
      }
      case "archive": {
        const [base = 0, last = 0] = (words[0] ?? "").split("-").map(Number);
        const [min = 1, max = 1] = (args.get("ts") ?? "1-1").split("-").map(Number);
        const cleaned = args.get("cleaned");
        this.entries.push(
          segmentEntry(base, last, {
            rawBytes: number("bytes", 100),
            minTimestamp: min,
            maxTimestamp: max,
            ...(cleaned === undefined ? {} : { cleanedTo: Number(cleaned) }),
          }),
        );
        return ["ok"];
      }
      case "drop":
        this.entries = this.entries.slice(Number(words[0]));
        return ["ok"];
      case "plan":
        return this.plan(number("now", 0));
      case "groups":
        return groupsToRewrite(
          this.entries,
          number("end", 0),
          number("bytes", 0),
          number("archives", 8),
        ).map((group) => group.map(span).join(" + "));
      default:
        throw new Error(`unknown command ${line}`);
    }
  }

  private plan(nowMs: number): string[] {
    const state = dirtyState(this.entries, this.rules, nowMs);
    const plan = planCompaction(this.entries, this.rules, nowMs);
    const { firstDirty, cleanableEnd, cleanBytes, cleanableBytes, ratio, overdueMs } = state;
    return [
      `dirty [${firstDirty}, ${cleanableEnd}) clean=${cleanBytes} cleanable=${cleanableBytes} ` +
        `ratio=${ratio.toFixed(2)} overdue=${overdueMs}`,
      plan === null ? "nothing to do" : `${plan.why}: ${plan.dirty.map(span).join(" ")}`,
    ];
  }
}

const defaultRules: CompactionRules = {
  dirtyRatioMin: 0.5,
  lagMsMin: 0,
  lagMsMax: Number.MAX_SAFE_INTEGER,
};

function span({ base, last }: SegmentEntry): string {
  return `${base}-${last}`;
}
