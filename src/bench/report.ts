import type { Histogram } from "./histogram.ts";

export interface Latency {
  readonly min: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** What came back when everything was read again. */
export interface Validation {
  readonly ok: boolean;
  readonly records: number;
  readonly batches: number;
  /** Over partition, offsets and the bytes of all records; as produced and as read. */
  readonly digestProduced: string | null;
  readonly digestRead: string;
  readonly elapsedSecs: number;
}

export interface BenchReport {
  readonly mode: "produce" | "consume" | "e2e";
  readonly topic: string;
  readonly partitions: number;
  readonly connections: number;
  readonly concurrency: number;
  readonly messageBytes: number;
  readonly acks: -1 | 0 | 1;
  /** No error, and the validation (if asked for) found everything. */
  readonly ok: boolean;
  readonly errors: readonly string[];
  readonly elapsedSecs: number;
  readonly messages: number;
  readonly requests: number;
  readonly messagesPerSec: number;
  /** Millions of message bytes, without any overhead. */
  readonly megabytesPerSec: number;
  /** Milliseconds per message (per fetch when consuming); null with acks=0, where nobody knows. */
  readonly latencyMs: Latency | null;
  readonly validation: Validation | null;
}

/** From a histogram of microseconds. */
export function latencyOf(histogram: Histogram): Latency {
  const at = (share: number): number => histogram.percentile(share) / 1000;
  return {
    min: histogram.min / 1000,
    mean: histogram.mean / 1000,
    p50: at(0.5),
    p90: at(0.9),
    p99: at(0.99),
    p999: at(0.999),
    max: histogram.max / 1000,
  };
}

/** The report as a person reads it. */
export function formatReport(report: BenchReport): string {
  const rate = Math.round(report.messagesPerSec).toLocaleString("en");
  const lines = [
    `mode         ${report.mode}, topic ${report.topic}, ${report.partitions} partition(s)`,
    `load         ${report.concurrency} outstanding, ${report.messageBytes} bytes each, ` +
      `acks ${report.acks}, ${report.connections} connection(s)`,
    `messages     ${report.messages.toLocaleString("en")} in ${report.elapsedSecs.toFixed(1)} s, ` +
      `${report.requests.toLocaleString("en")} requests`,
    `rate         ${rate} msg/s, ${report.megabytesPerSec.toFixed(1)} MB/s`,
  ];
  const { latencyMs: latency, validation } = report;
  if (latency !== null) {
    const figures = [
      ["p50", latency.p50],
      ["p90", latency.p90],
      ["p99", latency.p99],
      ["p99.9", latency.p999],
      ["max", latency.max],
    ] as const;
    const text = figures.map(([name, value]) => `${name} ${value.toFixed(2)}`).join("  ");
    lines.push(`latency ms   ${text}`);
  }
  if (validation !== null) {
    const found = `${validation.records.toLocaleString("en")} records read back`;
    lines.push(`validation   ${validation.ok ? "ok" : "FAILED"}: ${found}`);
  }
  for (const error of report.errors) lines.push(`error        ${error}`);
  lines.push(report.ok ? "result       ok, 100 % success" : "result       FAILED");
  return `${lines.join("\n")}\n`;
}
