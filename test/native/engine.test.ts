import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { status } from "../../src/native/abi.ts";
import { NativeFiles } from "../../src/native/files.ts";
import { NativeJournal } from "../../src/native/journal.ts";
import { NativeWal } from "../../src/native/wal.ts";
import { batch, idempotent } from "../support/log-lab.ts";
import { hasLibrary, openEngine, tempDir } from "../support/native.ts";

const logId = "0123456789abcdef0123456789abcdef";

function openOptions(dir: string, fromOffset = 0) {
  return {
    dir,
    prefix: "wal_0",
    logId,
    partition: 0,
    fromOffset,
    segmentIdNext: 0,
    segmentBytesMax: null,
  };
}

/** A batch as the partition hands it over. */
function stored(base: number, bytes = batch()): Uint8Array {
  const copy = Buffer.from(bytes);
  copy.writeBigInt64BE(BigInt(base), 0);
  copy.writeInt32BE(0, 12);
  return copy;
}

describe.skipIf(!hasLibrary)("the native engine", () => {
  test("appends in one tick are answered in order and read back byte for byte", async () => {
    using dir = tempDir();
    const engine = await openEngine(dir.path);
    const wal = new NativeWal(engine);
    const { log, end } = await wal.openLog(openOptions(`${dir.path}/wal/t/0`));
    expect(end).toBe(0);
    const order: number[] = [];
    const sent = Array.from({ length: 300 }, (_, n) => stored(n));
    await Promise.all(
      sent.map((bytes, n) => engine.append(log, n, n, 1, 0, bytes).then(() => order.push(n))),
    );
    expect(order).toEqual(sent.map((_, n) => n));
    const all = await wal.read(log, 0, 300, 1 << 20);
    expect(Buffer.from(all.bytes).equals(Buffer.concat(sent))).toBe(true);
    expect(all.nextOffset).toBe(300);
    const some = await wal.read(log, 17, 300, 1);
    expect(Buffer.from(some.bytes).equals(Buffer.from(sent[17]!))).toBe(true);
    expect(some.nextOffset).toBe(18);
    await engine.close();
  });

  test("a log goes on after closing, with its producers and epochs", async () => {
    using dir = tempDir();
    const path = `${dir.path}/wal/t/0`;
    const first = await openEngine(dir.path);
    const { log } = await new NativeWal(first).openLog(openOptions(path));
    for (let n = 0; n < 3; n++) {
      await first.append(log, n, n, 1, 0, stored(n, idempotent(7, 2, n)));
    }
    await first.close();
    const second = await openEngine(dir.path);
    const opened = await new NativeWal(second).openLog(openOptions(path, 1));
    expect(opened.end).toBe(3);
    expect(opened.damage).toBeNull();
    expect(opened.epochs).toEqual([[0, 1]]);
    expect(opened.producers.map((p) => [p.producerId, p.producerEpoch, p.baseSequence])).toEqual([
      [7, 2, 1],
      [7, 2, 2],
    ]);
    await second.close();
  });

  test("seal, segments, read_time and release", async () => {
    using dir = tempDir();
    const engine = await openEngine(dir.path);
    const wal = new NativeWal(engine);
    const { log } = await wal.openLog(openOptions(`${dir.path}/wal/t/0`));
    expect(await wal.seal(log)).toBeNull();
    await engine.append(
      log,
      0,
      1,
      2,
      0,
      stored(0, batch({ values: ["a", "b"], timestamps: [5, 9] })),
    );
    const sealed = await wal.seal(log);
    expect(sealed).toMatchObject({ base: 0, last: 1, records: 2, maxTimestamp: 9, sealed: true });
    await engine.append(log, 2, 2, 1, 0, stored(2, batch({ timestamps: [7] })));
    expect((await wal.segments(log)).map((s) => s.sealed)).toEqual([true, false]);
    expect(await wal.readTime(log, 0, 3, 6)).toEqual({ offset: 1, timestamp: 9, leaderEpoch: 0 });
    expect(await wal.readTime(log, 0, 3, -1)).toEqual({ offset: 1, timestamp: 9, leaderEpoch: 0 });
    expect(await wal.readTime(log, 0, 3, 10)).toBeNull();
    expect(await wal.release(log, [sealed!.id])).toBeGreaterThan(0);
    const below = wal.read(log, 0, 3, 100);
    expect(below).rejects.toMatchObject({ code: "CHRONIK_OUT_OF_RANGE" });
    await engine.close();
  });

  test("check says what is wrong with a batch", async () => {
    using dir = tempDir();
    const engine = await openEngine(dir.path);
    const wal = new NativeWal(engine);
    const good = batch({ values: ["a", "b"], keys: ["k", null], timestamps: [5, 3] });
    expect(wal.checkBatch(good)).toEqual({
      fault: null,
      compressed: false,
      keyless: true,
      maxTimestamp: 5,
      recordCount: 2,
    });
    const broken = Buffer.from(good);
    broken[broken.length - 1]! ^= 1;
    expect(wal.checkBatch(broken).fault).toBe("crc");
    expect(wal.checkBatch(good.subarray(0, 30)).fault).toBe("length");
    expect((await wal.validateBatch(good)).keyless).toBe(true);
    expect((await wal.validateBatch(broken)).fault).toBe("crc");
    await engine.close();
  });

  test("offsets that do not go on are refused, and the log goes on", async () => {
    using dir = tempDir();
    const engine = await openEngine(dir.path);
    const wal = new NativeWal(engine);
    const { log } = await wal.openLog(openOptions(`${dir.path}/wal/t/0`));
    await engine.append(log, 0, 0, 1, 0, stored(0));
    const gap = engine.append(log, 5, 5, 1, 0, stored(5));
    expect(gap).rejects.toMatchObject({ code: "CHRONIK_OUT_OF_RANGE" });
    await gap.catch(() => undefined);
    await engine.append(log, 1, 1, 1, 0, stored(1));
    await engine.close();
  });

  test("more than the queue takes waits here and goes in, in order", async () => {
    using dir = tempDir();
    const engine = await openEngine(dir.path, { queueAppendsMax: 16, queueBytesMax: 1 << 20 });
    const wal = new NativeWal(engine);
    const { log } = await wal.openLog(openOptions(`${dir.path}/wal/t/0`));
    const size = 40_000;
    const count = 40;
    const bytes = Array.from({ length: count }, (_, n) =>
      stored(n, batch({ values: ["x".repeat(size)] })),
    );
    await Promise.all(bytes.map((b, n) => engine.append(log, n, n, 1, 0, b)));
    expect(engine.commandsInFlight).toBe(0);
    const read = await wal.read(log, 0, count, 100 << 20);
    expect(read.nextOffset).toBe(count);
    await engine.close();
  });

  test("large bytes go both ways as they are, and outlive their engine", async () => {
    using dir = tempDir();
    const engine = await openEngine(dir.path);
    const files = new NativeFiles(engine);
    const path = `${dir.path}/large`;
    const part = (n: number) => new Uint8Array(300_000 + n).fill(n);
    await files.appendScratch(path, 0, part(1));
    const kept: Uint8Array[] = [];
    for (let n = 1; n <= 40; n++) {
      await files.appendScratch(path, 0, part(n));
      const read = await files.readFile(path);
      if (n % 8 === 0) kept.push(read);
      Bun.gc(true);
    }
    await engine.close();
    Bun.gc(true);
    expect(kept.map((bytes) => Buffer.from(bytes).equals(part(bytes[0] ?? 0)))).toEqual(
      Array.from({ length: 5 }, () => true),
    );
    expect(kept.map(({ length }) => length - 300_000)).toEqual([8, 16, 24, 32, 40]);
    // A result is writable like any other.
    kept[0]?.fill(9);
    expect(kept[0]?.at(-1)).toBe(9);
  });

  test("lent bytes wait where the queue is full, and are refused beyond the bound", async () => {
    using dir = tempDir();
    const engine = await openEngine(dir.path, { queueBytesMax: 1 << 20 });
    const files = new NativeFiles(engine);
    const bytes = new Uint8Array(400_000).fill(7);
    const write = (n: number) => files.appendScratch(`${dir.path}/lent-${n}`, 0, bytes);
    const settled = await Promise.allSettled(Array.from({ length: 30 }, (_, n) => write(n)));
    const refused = settled.flatMap((a) => (a.status === "rejected" ? [a.reason.code] : []));
    expect(new Set(refused)).toEqual(new Set(["CHRONIK_BUSY"]));
    const taken = settled.findLastIndex((answer) => answer.status === "fulfilled") + 1;
    expect(taken).toBe(30 - refused.length);
    expect(taken).toBeGreaterThan(2);
    const read = await files.readFile(`${dir.path}/lent-${taken - 1}`);
    expect(Buffer.from(read).equals(bytes)).toBe(true);
    await engine.close();
  });

  test("beyond the bound of what waits, commands are refused with BUSY", async () => {
    using dir = tempDir();
    const engine = await openEngine(dir.path, { queueBytesMax: 1 << 20 });
    const wal = new NativeWal(engine);
    const { log } = await wal.openLog(openOptions(`${dir.path}/wal/t/0`));
    const one = batch({ values: ["x".repeat(200_000)] });
    const many = Array.from({ length: 200 }, (_, n) => stored(n, one));
    const answers = many.map((bytes, n) => engine.append(log, n, n, 1, 0, bytes));
    const settled = await Promise.allSettled(answers);
    const taken = settled.filter((answer) => answer.status === "fulfilled").length;
    const refused = settled.flatMap((a) => (a.status === "rejected" ? [a.reason.code] : []));
    expect(taken).toBeGreaterThan(4);
    expect(new Set(refused)).toEqual(new Set(["CHRONIK_BUSY"]));
    // What was refused came last: the log has no gap.
    const read = await wal.read(log, 0, taken, 1 << 30);
    expect(read.nextOffset).toBe(taken);
    await engine.close();
  });

  test("what a completion breaks ends the process and is not lost in the doorbell", async () => {
    using dir = tempDir();
    const code = `
      import { openEngine } from ${JSON.stringify(join(import.meta.dir, "../support/native.ts"))};
      process.on("uncaughtException", (error) => { console.log(error.message); process.exit(3); });
      const engine = await openEngine(${JSON.stringify(dir.path)});
      engine.submitAppend(99, 0, 0, 1, 0, new Uint8Array(61), {
        completed() { throw new Error("a bug"); },
      });
    `;
    const child = Bun.spawn([process.execPath, "-e", code], { stdout: "pipe", env: process.env });
    expect(await new Response(child.stdout).text()).toBe("a bug\n");
    expect(await child.exited).toBe(3);
  });

  test("a second process cannot use the folder", async () => {
    using dir = tempDir();
    const engine = await openEngine(dir.path);
    expect(openEngine(dir.path)).rejects.toMatchObject({ code: "CHRONIK_LOCKED" });
    await engine.close();
    await (await openEngine(dir.path)).close();
  });

  test("commands after close are refused", async () => {
    using dir = tempDir();
    const engine = await openEngine(dir.path);
    await engine.close();
    expect(() => engine.submitAppend(1, 0, 0, 1, 0, stored(0), { completed() {} })).toThrow();
  });

  test("files: replace, read, list, rename, remove, and what is missing", async () => {
    using dir = tempDir();
    const engine = await openEngine(dir.path);
    const files = new NativeFiles(engine);
    const path = `${dir.path}/a/b`;
    await files.makeDir(path);
    await files.writeFile(`${path}/f`, Buffer.from("one"));
    await files.writeFile(`${path}/f`, Buffer.from("second"));
    expect(Buffer.from(await files.readFile(`${path}/f`)).toString()).toBe("second");
    expect(Buffer.from(await files.readFile(`${path}/f`, 1, 3)).toString()).toBe("eco");
    const [listed] = await files.listDir(path);
    expect(listed).toMatchObject({ name: "f", dir: false, bytes: 6 });
    expect(Math.abs((listed?.modifiedMs ?? 0) - Date.now())).toBeLessThan(60_000);
    await files.rename(path, `${dir.path}/a/c`);
    expect(files.readFile(`${path}/f`)).rejects.toMatchObject({ code: "CHRONIK_NOT_FOUND" });
    expect(files.listDir(path)).rejects.toMatchObject({ code: "CHRONIK_NOT_FOUND" });
    await files.putFile(`${dir.path}/a/c/f`, `${dir.path}/g`, true);
    await files.writeFile(`${dir.path}/h`, Buffer.from("h"));
    const taken = files.putFile(`${dir.path}/h`, `${dir.path}/g`, true);
    expect(taken).rejects.toMatchObject({ code: "CHRONIK_EXISTS", status: status.EXISTS });
    await taken.catch(() => undefined);
    await files.removeFile(`${dir.path}/g`);
    await files.removeDir(`${dir.path}/a`);
    expect((await files.disk(dir.path)).freeBytes).toBeGreaterThan(0);
    await engine.close();
  });

  test("a journal replays snapshot and entries, and frees what a snapshot covers", async () => {
    using dir = tempDir();
    const path = `${dir.path}/journal`;
    const entriesOf = async (journal: NativeJournal) => {
      const out: string[] = [];
      await journal.replay((entry) => out.push(Buffer.from(entry).toString()));
      return out;
    };
    const first = await openEngine(dir.path);
    const journal = await NativeJournal.open(first, path);
    for (const text of ["a", "b", "c"]) await journal.append(Buffer.from(text));
    const inFlight = journal.append(Buffer.from("late"));
    await journal.compact(Buffer.from("abc"));
    await inFlight;
    await journal.append(Buffer.from("d"));
    await journal.close();
    await first.close();
    const second = await openEngine(dir.path);
    const again = await NativeJournal.open(second, path);
    expect(await entriesOf(again)).toEqual(["abc", "late", "d"]);
    await again.compact(Buffer.from("all"));
    await again.close();
    await second.close();
    const third = await openEngine(dir.path);
    expect(await entriesOf(await NativeJournal.open(third, path))).toEqual(["all"]);
    await third.close();
  });
});
