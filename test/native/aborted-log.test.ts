import { describe, expect, test } from "bun:test";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/lib/clock.ts";
import type { Partition } from "../../src/log/partition.ts";
import {
  batchesIn,
  isControl,
  lastOffset,
  recordsPayload,
} from "../../src/protocol/record-batch.ts";
import { parseRecords } from "../../src/protocol/records.ts";
import { batch } from "../support/log-lab.ts";
import { hasLibrary, tempDir } from "../support/native.ts";
import { openNative } from "../support/native-log.ts";

const child = join(import.meta.dir, "abort-forever.fixture.ts");
const limits = { abortedSpillMin: 20 };
const killed = 128 + 9;

interface Abort {
  readonly producerId: number;
  readonly firstOffset: number;
  readonly marker: number;
}

/** What the log's own batches say was aborted. */
async function abortsIn(partition: Partition): Promise<Abort[]> {
  const aborts: Abort[] = [];
  const open = new Map<number, number>();
  for (let offset = partition.logStartOffset; offset < partition.highWatermark; ) {
    const offsetLimit = partition.highWatermark;
    const read = await partition.read({ offset, bytesMax: 1 << 20, offsetLimit });
    offset = read.nextOffset;
    for (const chunk of read.chunks) {
      for (const { position, header } of batchesIn(chunk)) {
        const { producerId, baseOffset } = header;
        if (!isControl(header.attributes)) {
          if (!open.has(producerId)) open.set(producerId, baseOffset);
          continue;
        }
        const firstOffset = open.get(producerId);
        open.delete(producerId);
        const [record] = parseRecords(recordsPayload(chunk, position, header), header);
        const isAbort = Buffer.from(record?.key ?? []).readInt16BE(2) === 0;
        if (firstOffset === undefined || !isAbort) continue;
        aborts.push({ producerId, firstOffset, marker: lastOffset(header) });
      }
    }
  }
  return aborts;
}

async function checkRanges(partition: Partition): Promise<Abort[]> {
  const aborts = await abortsIn(partition);
  const { logStartOffset: start, highWatermark: end } = partition;
  const places = Array.from({ length: 8 }, (_, n) => start + Math.floor(((end - start) * n) / 7));
  for (const from of places) {
    for (const to of places.filter((place) => place > from)) {
      const told = await partition.abortedTransactions(from, to);
      const expected = aborts
        .filter(({ firstOffset, marker }) => marker >= from && firstOffset < to)
        .map(({ producerId, firstOffset }) => ({ producerId, firstOffset }))
        .sort((a, b) => a.firstOffset - b.firstOffset);
      // One that reaches below the log start begins there as far as the log still tells.
      expect(told.filter(({ firstOffset }) => firstOffset >= start)).toEqual(expected);
    }
  }
  return aborts;
}

function runFiles(partition: Partition): string[] {
  return readdirSync(partition.dir).filter((name) => name.startsWith("aborted-"));
}

describe.skipIf(!hasLibrary)("aborted transactions over the real engine", () => {
  const side = ["before", "after"] as const;
  test.each(side)(
    "a kill %s any operation on files loses no abort, and no file",
    async (where) => {
      using dir = tempDir();
      const operations = [1, 2, 3, 5, 8, 13, 21, 34];
      for (const [cycle, operation] of operations.entries()) {
        const args = [dir.path, String(cycle + 1), String(operation), where];
        const fixture = Bun.spawn([process.execPath, child, ...args], {
          stdout: "pipe",
          stderr: "inherit",
          env: process.env,
        });
        const lines = (await new Response(fixture.stdout).text()).split("\n").slice(0, -1);
        expect(await fixture.exited).toBe(killed);
        const rebuilt: string[] = [];
        const log = await openNative(dir.path, systemClock, {
          limits,
          leaderEpoch: cycle + 1,
          events: { abortsRebuilt: (file) => rebuilt.push(file) },
        });
        const { partition } = log;
        expect(partition.damage).toBeNull();
        const aborts = await checkRanges(partition);
        const known = new Set(aborts.map(({ producerId, marker }) => `${producerId} ${marker}`));
        for (const line of lines) {
          const [kind, id = "", first = "", marker] = line.split(" ");
          if (kind === "start") expect(partition.logStartOffset).toBeGreaterThanOrEqual(+id);
          else if (+first >= partition.logStartOffset) expect(known).toContain(`${id} ${marker}`);
        }
        expect(rebuilt).toEqual([]);
        await log.close();
      }
    },
    120_000,
  );

  test("files that are lost are made again from the log, once", async () => {
    using dir = tempDir();
    const first = await openNative(dir.path, systemClock, { limits });
    for (let n = 0; n < 1_000; n++) {
      const producer = { producerId: n % 3, producerEpoch: 0 };
      const sequence = { baseSequence: Math.floor(n / 3), isTransactional: true };
      await Promise.all([
        first.partition.append(batch({ ...producer, ...sequence }), { origin: "client" }),
        first.partition.appendMarker({
          ...producer,
          coordinatorEpoch: 0,
          transactionVersion: 1,
          commit: n % 4 === 0,
        }),
      ]);
    }
    await first.close();
    const files = runFiles(first.partition);
    expect(files.length).toBeGreaterThan(0);
    expect(files.length).toBeLessThan(10);
    for (const name of files) rmSync(join(first.partition.dir, name));
    const rebuilt: string[] = [];
    const events = { abortsRebuilt: (file: string) => rebuilt.push(file) };
    const second = await openNative(dir.path, systemClock, { limits, events, leaderEpoch: 1 });
    expect(await checkRanges(second.partition)).toHaveLength(750);
    expect(rebuilt.length).toBe(files.length);
    await second.close();
    const third = await openNative(dir.path, systemClock, { limits, events, leaderEpoch: 2 });
    await checkRanges(third.partition);
    expect(rebuilt.length).toBe(files.length);
    // Nobody needs what lies below the log start.
    await third.partition.deleteRecordsBefore(-1);
    await third.close();
    expect(runFiles(third.partition)).toEqual([]);
  }, 60_000);
});
