import { expect, test } from "bun:test";
import { ColdPace } from "../../src/log/cold-pace.ts";
import { ColdPatience } from "../../src/log/cold-patience.ts";
import { PartitionReader } from "../../src/log/partition-reader.ts";
import { type ColdReader, noColdReader, type Wal } from "../../src/log/ports.ts";
import { ReadStats } from "../../src/log/read-stats.ts";
import { TailCache } from "../../src/log/tail-cache.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { batch, turn } from "../support/log-lab.ts";

const mebibyte = 1 << 20;
const batches = 40;

function batchAt(offset: number): Uint8Array {
  const bytes = batch({ values: ["x".repeat(mebibyte)] });
  new DataView(bytes.buffer, bytes.byteOffset).setBigInt64(0, BigInt(offset));
  return bytes;
}

/** Batches of a mebibyte that each take `msEach` to come, and that nothing keeps. */
function slowArchives(clock: FakeClock, msEach: number): ColdReader {
  const wait = (ms: number) => new Promise<void>((done) => clock.schedule(ms, done));
  return {
    ...noColdReader,
    archivedRange: () => ({ start: 0, end: batches }),
    async read(_id, _partition, offset, bytesMax) {
      const chunks: Uint8Array[] = [];
      let bytes = 0;
      for (let next = offset; next < batches; next++) {
        const chunk = batchAt(next);
        if (bytes > 0 && bytes + chunk.length > bytesMax) break;
        await wait(msEach);
        chunks.push(chunk);
        bytes += chunk.length;
      }
      return { chunks, nextOffset: offset + chunks.length };
    },
  };
}

function readerOver(cold: ColdReader, clock: FakeClock): PartitionReader {
  return new PartitionReader({
    ...{ topicId: "id-t", partition: 0, log: 1, cold, clock },
    wal: {} as Wal,
    tail: new TailCache(0).openTail(),
    reads: new ReadStats(),
    coldPace: new ColdPace(clock, 10),
    view: () => ({ logStartOffset: 0, logEndOffset: batches, walStart: null }),
    unreadable: (_offset, error) => {
      throw error;
    },
  });
}

test("a read that takes longer than its reader waits gives what came", async () => {
  const clock = new FakeClock();
  const reader = readerOver(slowArchives(clock, 100), clock);
  let offset = 0;
  for (let fetches = 0; offset < batches; fetches++) {
    expect(fetches).toBeLessThan(batches);
    const patience = new ColdPatience(clock, clock.monotonicMs(), 500);
    const limits = { offset, bytesMax: batches * 2 * mebibyte, offsetLimit: batches };
    const reading = Promise.resolve(reader.read({ ...limits, coldPatience: patience.wait }));
    let isDone = false;
    void reading.then(() => {
      isDone = true;
    });
    for (let ms = 0; !isDone && ms < 2_000; ms += 20) {
      await turn();
      clock.advance(20);
      await turn();
    }
    const read = await reading;
    patience.end();
    expect(read.errorCode).toBe(0);
    // A reader that is never given anything would stand still for ever.
    expect(read.nextOffset).toBeGreaterThan(offset);
    offset = read.nextOffset;
  }
});

test("archives give no more once there is as much as was asked for", async () => {
  const clock = new FakeClock();
  const reader = readerOver(slowArchives(clock, 0), clock);
  const ask = { offset: 3, bytesMax: batches * 2 * mebibyte, offsetLimit: batches };
  const read = async (options: { coldBytesMax?: number }) => {
    const reading = Promise.resolve(reader.read({ ...ask, ...options }));
    for (let turns = 0; turns < batches; turns++) {
      await turn();
      clock.advance(1);
    }
    return (await reading).nextOffset - ask.offset;
  };
  expect(await read({ coldBytesMax: 2.5 * mebibyte })).toBe(3);
  expect(await read({ coldBytesMax: 1 })).toBe(1);
  expect(await read({})).toBe(batches - 3);
});
