import { integer } from "./config-values.ts";

/** When retention looks; what it keeps is `topic.retentionMs` and `topic.retentionBytes`. */
export const retentionSettings = {
  "retention.checkIntervalMs": integer({
    kafka: ["log.retention.check.interval.ms"],
    default: 300_000,
    min: 1,
    max: 2 ** 31 - 1,
    doc: "Milliseconds between two looks for what retention no longer keeps",
  }),
  "retention.initialDelayMs": integer({
    kafka: ["log.initial.task.delay.ms"],
    default: 30_000,
    min: 0,
    max: 2 ** 31 - 1,
    doc: "Milliseconds from the start to the first such look",
  }),
} as const;
