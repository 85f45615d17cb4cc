import { expect, test } from "bun:test";
import fc from "fast-check";
import { BrokerError } from "../../src/lib/errors.ts";
import type { ColdReader } from "../../src/log/ports.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { batchesIn, lastOffset, sizeInBytes } from "../../src/protocol/record-batch.ts";
import { batch, idempotent, LogLab } from "../support/log-lab.ts";
import { MemoryArchive } from "../support/memory-archive.ts";
import { noSpace } from "../support/memory-wal.ts";

const client = { origin: "client" } as const;

test("reads across tail, WAL and archive equal the model, from every offset", async () => {
  const shape = fc.record({
    sizes: fc.array(fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 900 })), {
      minLength: 1,
      maxLength: 60,
    }),
    segmentBytesMax: fc.integer({ min: 1, max: 3000 }),
    tailCacheBytesMax: fc.integer({ min: 0, max: 20_000 }),
    archivedShare: fc.double({ min: 0, max: 1, noNaN: true }),
    released: fc.boolean(),
    bytesMax: fc.integer({ min: 0, max: 4000 }),
  });
  await fc.assert(
    fc.asyncProperty(shape, async (p) => {
      const cold = new MemoryArchive();
      const lab = new LogLab({ limits: { tailCacheBytesMax: p.tailCacheBytesMax }, cold });
      lab.wal.segmentBytesMax = p.segmentBytesMax;
      const partition = await lab.open();
      const model: { base: number; last: number; bytes: Buffer }[] = [];
      for (const [count, size] of p.sizes) {
        const sent = batch({ values: Array.from({ length: count }, () => "x".repeat(size)) });
        const { baseOffset } = await partition.append(sent, client);
        const bytes = Buffer.from(sent);
        bytes.writeBigInt64BE(BigInt(baseOffset), 0);
        bytes.writeInt32BE(0, 12);
        model.push({ base: baseOffset, last: baseOffset + count - 1, bytes });
      }
      const sealed = partition.segments().filter((segment) => segment.sealed);
      const moved = sealed.slice(0, Math.floor(sealed.length * p.archivedShare));
      const end = (moved.at(-1)?.last ?? -1) + 1;
      cold.batches = model.filter((item) => item.last < end);
      await partition.checkpoint(end);
      if (p.released) await partition.releaseSegments(moved.map((segment) => segment.id));
      const limit = partition.highWatermark;
      for (let offset = 0; offset < limit; offset++) {
        const options = { offset, bytesMax: p.bytesMax, offsetLimit: limit };
        const read = await partition.read(options);
        expect(read.errorCode).toBe(ErrorCode.NONE);
        const got = Buffer.concat(read.chunks as Uint8Array[]);
        expect(got.length).toBe(read.bytes);
        const first = model.findIndex((item) => item.last >= offset);
        const whole = Buffer.concat(model.slice(first).map((item) => item.bytes));
        // A prefix of the model, cut at a batch border, at least one batch, within the limit.
        expect(got.equals(whole.subarray(0, got.length))).toBe(true);
        const batches = [...batchesIn(got)];
        const total = batches.reduce((sum, { header }) => sum + sizeInBytes(header), 0);
        expect(total).toBe(got.length);
        expect(batches.length).toBeGreaterThan(0);
        if (batches.length > 1) expect(got.length).toBeLessThanOrEqual(p.bytesMax);
        const strict = await partition.read({ ...options, firstBatchAnyway: false });
        expect(strict.bytes).toBeLessThanOrEqual(p.bytesMax);
      }
    }),
    { numRuns: 60 },
  );
}, 60_000);

test("walking a partition by fetches sees every batch once, whatever the tiers", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 2000 }),
      fc.integer({ min: 0, max: 9000 }),
      async (bytesMax, tailCacheBytesMax) => {
        const cold = new MemoryArchive();
        const lab = new LogLab({ limits: { tailCacheBytesMax }, cold });
        lab.wal.segmentBytesMax = 500;
        const partition = await lab.open();
        for (let n = 0; n < 40; n++)
          await partition.append(batch({ values: ["x".repeat(400), "y"] }), client);
        const moved = partition.segments().filter((segment) => segment.last < 40);
        const all = await partition.read({ offset: 0, bytesMax: 1e9, offsetLimit: 80 });
        for (const chunk of all.chunks) {
          for (const { position, header } of batchesIn(chunk)) {
            const last = lastOffset(header);
            if (last > (moved.at(-1)?.last ?? -1)) continue;
            const bytes = chunk.slice(position, position + sizeInBytes(header));
            cold.batches.push({ base: header.baseOffset, last, bytes });
          }
        }
        await partition.checkpoint((moved.at(-1)?.last ?? -1) + 1);
        await partition.releaseSegments(moved.map((segment) => segment.id));
        const tiers = new Set<string>();
        let offset = 0;
        const seen: number[] = [];
        while (offset < partition.highWatermark) {
          const [walReads, coldReads] = [lab.wal.reads, cold.reads];
          const read = await partition.read({ offset, bytesMax, offsetLimit: 80 });
          if (lab.wal.reads > walReads) tiers.add("wal");
          if (cold.reads > coldReads) tiers.add("cold");
          if (lab.wal.reads === walReads && cold.reads === coldReads) tiers.add("tail");
          for (const chunk of read.chunks) {
            for (const { header } of batchesIn(chunk)) {
              seen.push(header.baseOffset);
              offset = lastOffset(header) + 1;
            }
          }
        }
        expect(seen).toEqual(Array.from({ length: 40 }, (_, n) => n * 2));
        expect([...tiers].sort()).toEqual(["cold", "tail", "wal"]);
      },
    ),
    { numRuns: 40 },
  );
}, 60_000);

/** What a run of appends, completions, failures and restarts may do. */
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("append"), producer: fc.nat(2) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("complete"), count: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("fail"), count: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("retry"), producer: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("crash") }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("checkpoint") }) },
);

interface Step {
  do: string;
  producer?: number;
  count?: number;
}

test("offsets are dense, acks kept, the high watermark never falls, no retry doubles", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps: Step[]) => {
      let lab = new LogLab({ auto: false });
      let partition = await lab.open();
      const acked = new Map<string, number>();
      let highWatermark = 0;
      let inFlight: Promise<void>[] = [];
      const sequences = [0, 0, 0];
      const send = (producer: number, sequence: number) => {
        const key = `${producer}/${sequence}`;
        const done = partition.append(idempotent(producer, 0, sequence), client).then((r) => {
          if (r.errorCode !== 0) return;
          // An acknowledged batch has one offset for ever.
          expect(acked.get(key) ?? r.baseOffset).toBe(r.baseOffset);
          acked.set(key, r.baseOffset);
        });
        inFlight.push(done);
      };
      const settle = async () => {
        lab.wal.failWhen = () => null;
        lab.wal.complete();
        await Promise.all(inFlight);
        inFlight = [];
        // As a producer does: go on after the last acknowledged sequence.
        for (const producer of [0, 1, 2]) {
          let next = 0;
          while (acked.has(`${producer}/${next}`)) next++;
          sequences[producer] = next;
        }
      };
      for (const { do: action, producer = 0, count = 1 } of steps) {
        if (action === "append") {
          send(producer, sequences[producer]!);
          sequences[producer]!++;
        } else if (action === "complete") {
          lab.wal.complete(count);
        } else if (action === "fail") {
          lab.wal.failWhen = () => noSpace();
          lab.wal.complete(count);
          await settle();
        } else if (action === "retry") {
          await settle();
          if (sequences[producer]! > 0) send(producer, sequences[producer]! - 1);
        } else if (action === "checkpoint") {
          await partition.checkpoint();
        } else {
          // Everything submitted and not completed is lost, unacknowledged.
          inFlight = [];
          const before = partition.highWatermark;
          lab = lab.restart();
          partition = await lab.open();
          expect(partition.highWatermark).toBe(before);
          await settle();
        }
        expect(partition.highWatermark).toBeGreaterThanOrEqual(highWatermark);
        highWatermark = partition.highWatermark;
        expect(partition.highWatermark).toBeLessThanOrEqual(partition.logEndOffset);
      }
      await settle();
      expect(partition.damage).toBeNull();
      const read = await partition.read({
        offset: 0,
        bytesMax: 1e9,
        offsetLimit: partition.highWatermark,
      });
      const stored = read.chunks.flatMap((chunk) => [...batchesIn(chunk)].map((b) => b.header));
      expect(stored.map((header) => header.baseOffset)).toEqual(stored.map((_, n) => n));
      const keys = stored.map((header) => `${header.producerId}/${header.baseSequence}`);
      expect(new Set(keys).size).toBe(keys.length);
      for (const [key, offset] of acked) expect(keys[offset]).toBe(key);
    }),
    { numRuns: 200 },
  );
}, 60_000);

test("an archive that cannot be read fails its range only", async () => {
  const lab = new LogLab();
  lab.wal.segmentBytesMax = 1;
  const before = await lab.open();
  for (let n = 0; n < 4; n++) await before.append(batch(), client);
  await before.checkpoint(2);
  await before.releaseSegments([0, 1]);
  const cold: ColdReader = {
    archivedRange: () => ({ start: 0, end: 2 }),
    read: () => Promise.reject(new BrokerError("CHRONIK_CORRUPT", "bad object")),
    findTime: () => Promise.resolve(null),
    abortedTransactions: () => Promise.resolve([]),
  };
  const next = lab.restart({ cold });
  const partition = await next.open();
  const code = async (offset: number) =>
    (await partition.read({ offset, bytesMax: 1e6, offsetLimit: 4 })).errorCode;
  expect(await code(0)).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  expect(await code(2)).toBe(ErrorCode.NONE);
  expect(next.heard).toEqual(["unreadable: 0 CHRONIK_CORRUPT"]);
});

test("a segment released between the look and the read is read from its archive", async () => {
  const lab = new LogLab();
  lab.wal.segmentBytesMax = 1;
  const before = await lab.open();
  for (let n = 0; n < 3; n++) await before.append(batch(), client);
  const all = await before.read({ offset: 0, bytesMax: 1e6, offsetLimit: 3 });
  const cold = new MemoryArchive();
  for (const { position, header } of batchesIn(all.chunks[0]!)) {
    const bytes = all.chunks[0]!.slice(position, position + sizeInBytes(header));
    const base = header.baseOffset;
    if (base < 2) cold.batches.push({ base, last: base, bytes });
  }
  const next = lab.restart({ cold });
  const partition = await next.open();
  const readWal = next.wal.read.bind(next.wal);
  next.wal.read = async (...options) => {
    await partition.checkpoint(2);
    await partition.releaseSegments([0, 1]);
    return readWal(...options);
  };
  const read = await partition.read({ offset: 0, bytesMax: 1e6, offsetLimit: 3 });
  expect(read.errorCode).toBe(ErrorCode.NONE);
  expect(Buffer.concat(read.chunks as Uint8Array[]).equals(Buffer.from(all.chunks[0]!))).toBe(true);
  expect(next.heard).toEqual([]);
});

test("a search by time sees what moves from the WAL to the archive meanwhile", async () => {
  const lab = new LogLab();
  lab.wal.segmentBytesMax = 1;
  const cold = new MemoryArchive();
  const before = await lab.open();
  for (let n = 0; n < 3; n++) await before.append(batch({ timestamps: [n] }), client);
  const all = await before.read({ offset: 0, bytesMax: 1e6, offsetLimit: 3 });
  const [chunk] = all.chunks;
  const batches = [...batchesIn(chunk!)].map(({ position, header }) => ({
    base: header.baseOffset,
    last: header.baseOffset,
    bytes: chunk!.slice(position, position + sizeInBytes(header)),
  }));
  cold.batches = batches.slice(0, 1);
  const next = lab.restart({ cold });
  const partition = await next.open();
  const findCold = cold.findTime.bind(cold);
  cold.findTime = async (...options) => {
    const found = await findCold(...options);
    cold.batches = batches.slice(0, 2);
    await partition.checkpoint(2);
    await partition.releaseSegments([0, 1]);
    return found;
  };
  expect((await partition.offsetForTimestamp(1, "read_uncommitted")).offset).toBe(1);
});

test("a hole between the tiers is an error, not an empty read", async () => {
  const lab = new LogLab();
  lab.wal.segmentBytesMax = 1;
  const before = await lab.open();
  for (let n = 0; n < 3; n++) await before.append(batch(), client);
  await before.checkpoint(2);
  await before.releaseSegments([0, 1]);
  const cold = new MemoryArchive();
  cold.archivedRange = () => ({ start: 0, end: 2 });
  const next = lab.restart({ cold });
  const partition = await next.open();
  const read = await partition.read({ offset: 0, bytesMax: 1e6, offsetLimit: 3 });
  expect(read.errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  expect(next.heard).toEqual(["unreadable: 0 CHRONIK_HOLE"]);
});
