import { describe, expect, test } from "bun:test";
import { formatReport } from "../../src/bench/report.ts";
import { type BenchOptions, runBench } from "../../src/bench/run.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { type Fault, memoryBroker } from "../support/memory-broker.ts";

async function bench(changes: Partial<BenchOptions>, fault: Fault | null = null) {
  await using broker = await memoryBroker(fault);
  const options: BenchOptions = {
    mode: "produce",
    bootstrapServers: [{ host: "127.0.0.1", port: broker.server.port }],
    durationSecs: 0.3,
    concurrency: 32,
    messageBytes: 100,
    acks: -1,
    topic: "bench",
    partitions: 3,
    validate: true,
    ...changes,
  };
  // This broker does not look at checksums: any will do, and this one is quick.
  const deps = { clock: systemClock, crc: (bytes: Uint8Array) => Bun.hash.crc32(bytes) };
  if (options.mode === "consume") await runBench({ ...options, mode: "produce" }, deps);
  return await runBench(options, deps);
}

describe("bench", () => {
  for (const acks of [-1, 1, 0] as const) {
    test(`produces with acks=${acks} and reads everything back`, async () => {
      const report = await bench({ acks });
      expect(report.errors).toEqual([]);
      expect(report.ok).toBe(true);
      expect(report.partitions).toBe(3);
      expect(report.connections).toBe(4);
      expect(report.messages).toBeGreaterThan(32);
      expect(report.validation?.records).toBe(report.messages);
      expect(report.latencyMs === null).toBe(acks === 0);
      expect(formatReport(report)).toContain("result       ok, 100 % success");
    });
  }

  test("large messages, of which the socket takes only a part at a time", async () => {
    const report = await bench({ messageBytes: 300_000, concurrency: 60, durationSecs: 0.1 });
    expect(report.errors).toEqual([]);
    expect(report.ok).toBe(true);
  });

  test("never has more messages outstanding than asked for", async () => {
    const report = await bench({ concurrency: 3, partitions: 1 });
    expect(report.ok).toBe(true);
    expect(report.connections).toBe(3);
    // Each connection has one message, so each request has one.
    expect(report.requests).toBe(report.messages);
  });

  test("end to end: a message's place is free again when it was read", async () => {
    const report = await bench({ mode: "e2e" });
    expect(report.errors).toEqual([]);
    expect(report.ok).toBe(true);
    expect(report.validation?.records).toBe(report.messages);
    expect(report.latencyMs?.p50).toBeGreaterThan(0);
  });

  test("consumes what is there, again and again", async () => {
    const report = await bench({ mode: "consume" });
    expect(report.errors).toEqual([]);
    expect(report.ok).toBe(true);
    expect(report.messages).toBeGreaterThan(0);
  });

  test("an empty topic cannot be consumed", async () => {
    await using broker = await memoryBroker();
    const bootstrapServers = [{ host: "127.0.0.1", port: broker.server.port }];
    const options: BenchOptions = {
      mode: "consume",
      bootstrapServers,
      durationSecs: 1,
      concurrency: 1,
      messageBytes: 16,
      acks: -1,
      topic: "empty",
      partitions: 1,
      validate: false,
    };
    const report = await runBench(options, { clock: systemClock, crc: crc32c });
    expect(report.ok).toBe(false);
    expect(report.errors[0]).toContain("is empty");
  });

  const faults: [Fault["kind"], RegExp][] = [
    ["lose", /records were acknowledged, \d+ came back|other bytes or offsets/],
    ["repeat", /were acknowledged, \d+ came back/],
    ["corrupt", /is corrupt/],
    ["shift", /offset \d+ came, not \d+/],
    ["error", /KAFKA_STORAGE_ERROR/],
    ["negative-offset", /base offset -1/],
  ];
  for (const [kind, message] of faults) {
    test(`a broker that does "${kind}" to one batch fails the run`, async () => {
      const report = await bench({ partitions: 1 }, { batch: 10, kind });
      expect(report.ok).toBe(false);
      expect(report.errors.join("\n")).toMatch(message);
      expect(formatReport(report)).toContain("result       FAILED");
    });
  }
});
