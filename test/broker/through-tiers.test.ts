/** 2 GiB through a WAL of 1 GiB into a bucket and out again: what came out is what went in, and
 * neither disk nor memory nor the number of requests grow with it. */
import { expect, test } from "bun:test";
import { runThrough, summaryOf } from "../../scripts/bench-tiers-through.ts";
import { s3SkipReason } from "../support/s3-server.ts";

const MiB = 1 << 20;
const GiB = 1 << 30;
const isCi = process.env["CI"] === "true";
const walBytesMax = GiB;
const cacheBytesMax = 256 * MiB;
const partitions = 4;

test.skipIf(!isCi && s3SkipReason !== null)(
  "2 GiB through the tiers",
  async () => {
    expect(s3SkipReason).toBeNull();
    const options = {
      bytes: 2 * GiB,
      walBytesMax,
      cacheBytesMax,
      partitions,
      store: "s3",
    } as const;
    const report = await runThrough(options);
    console.log(JSON.stringify(summaryOf(report)));
    expect(report.consumed).toEqual(report.produced);
    expect(report.produced.reduce((sum, { bytes }) => sum + bytes, 0)).toBeGreaterThan(2 * GiB);
    // The cap was reached for: what follows would say nothing of a WAL that was never full.
    expect(report.throttledSecs).toBeGreaterThan(0);
    expect(report.walBytesMax).toBeLessThanOrEqual(walBytesMax);
    // Space is reserved in front of each writer, up to 16 MiB.
    expect(report.diskBytesMax["wal"]).toBeLessThan(walBytesMax + (partitions + 60) * 16 * MiB);
    expect(report.diskBytesMax["cache"]).toBeLessThanOrEqual(cacheBytesMax * 1.02);
    expect(report.diskBytesMax["tmp"]).toBeLessThan(512 * MiB);
    // One for each chunk and table of contents, or fewer where chunks are read together.
    expect(report.gets ?? 0).toBeGreaterThan(report.archives);
    expect(report.gets ?? 0).toBeLessThanOrEqual(1.1 * (report.chunks + report.archives));
  },
  600_000,
);
