import { expect, test } from "bun:test";
import type { AppendSink } from "../../src/log/ports.ts";
import { crc32c } from "../../src/protocol/crc32c.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { batchesIn, lastOffset, recordsPayload } from "../../src/protocol/record-batch.ts";
import { parseRecords } from "../../src/protocol/records.ts";
import { batch, idempotent, LogLab, turn } from "../support/log-lab.ts";
import { noSpace } from "../support/memory-wal.ts";

const client = { origin: "client" } as const;

export function valuesOf(chunks: readonly Uint8Array[]): string[] {
  const out: string[] = [];
  for (const chunk of chunks) {
    for (const { position, header } of batchesIn(chunk)) {
      for (const record of parseRecords(recordsPayload(chunk, position, header), header)) {
        const offset = header.baseOffset + record.offsetDelta;
        out.push(`${offset}=${Buffer.from(record.value ?? []).toString()}`);
      }
    }
  }
  return out;
}

test("appends get dense offsets and are answered only when durable", async () => {
  const lab = new LogLab({ auto: false });
  const partition = await lab.open();
  const answers: number[] = [];
  for (const values of [["a"], ["b", "c"], ["d"]]) {
    void partition.append(batch({ values }), client).then((r) => answers.push(r.baseOffset));
  }
  await Promise.resolve();
  expect(partition.logEndOffset).toBe(4);
  expect(partition.highWatermark).toBe(0);
  expect(answers).toEqual([]);
  lab.wal.complete(2);
  await Promise.resolve();
  expect(partition.highWatermark).toBe(3);
  expect(answers).toEqual([0, 1]);
  lab.wal.complete();
  await Promise.resolve();
  expect(answers).toEqual([0, 1, 3]);
});

test("bytes past the base offset and the leader epoch come back as they were sent", async () => {
  const lab = new LogLab();
  const partition = await lab.open({}, 7);
  await partition.append(batch({ values: ["first"] }), client);
  const sent = batch({ values: ["x", "y"] });
  await partition.append(sent, client);
  const read = await partition.read({ offset: 1, bytesMax: 1e6, offsetLimit: 3 });
  const [got] = read.chunks;
  expect(Buffer.from(got!.subarray(16))).toEqual(Buffer.from(sent.subarray(16)));
  const [first] = [...batchesIn(got!)];
  expect(first!.header.baseOffset).toBe(1);
  expect(first!.header.partitionLeaderEpoch).toBe(7);
});

test("a read inside a batch returns the batch from its base", async () => {
  const lab = new LogLab();
  const partition = await lab.open();
  await partition.append(batch({ values: ["a", "b", "c"] }), client);
  const read = await partition.read({ offset: 2, bytesMax: 1, offsetLimit: 3 });
  expect(valuesOf(read.chunks)).toEqual(["0=a", "1=b", "2=c"]);
});

test("a read that may return nothing does not go to the disk", async () => {
  const lab = new LogLab();
  await (await lab.open()).append(batch(), client);
  const next = lab.restart();
  const partition = await next.open();
  const none = { offset: 0, bytesMax: 0, offsetLimit: 1, firstBatchAnyway: false };
  expect(await partition.read(none)).toEqual({
    errorCode: 0,
    chunks: [],
    bytes: 0,
    nextOffset: 0,
  });
  expect(next.wal.reads).toBe(0);
});

test("offsets outside the log are out of range; at its high watermark it is empty", async () => {
  const lab = new LogLab({ auto: false });
  const partition = await lab.open();
  void partition.append(batch(), client);
  lab.wal.complete();
  void partition.append(batch(), client);
  const at = async (offset: number) =>
    (await partition.read({ offset, bytesMax: 100, offsetLimit: partition.highWatermark }))
      .errorCode;
  expect(await at(-1)).toBe(ErrorCode.OFFSET_OUT_OF_RANGE);
  expect(await at(1)).toBe(ErrorCode.NONE);
  expect(await at(2)).toBe(ErrorCode.NONE);
  expect(await at(3)).toBe(ErrorCode.OFFSET_OUT_OF_RANGE);
});

test("no space: all in flight fail, the log is rolled back, the next append goes on", async () => {
  const lab = new LogLab({ auto: false });
  const partition = await lab.open();
  const results: [number, number][] = [];
  const send = (bytes: Uint8Array) =>
    void partition.append(bytes, client).then((r) => results.push([r.errorCode, r.baseOffset]));
  send(idempotent(9, 0, 0));
  lab.wal.complete();
  lab.wal.failWhen = (frame) => (frame.base === 2 ? noSpace() : null);
  for (const sequence of [1, 2, 3]) send(idempotent(9, 0, sequence));
  expect(partition.logEndOffset).toBe(4);
  lab.wal.complete();
  await Promise.resolve();
  const storage = ErrorCode.KAFKA_STORAGE_ERROR;
  expect(results).toEqual([
    [0, 0],
    [0, 1],
    [storage, -1],
    [storage, -1],
  ]);
  expect(partition.logEndOffset).toBe(2);
  expect(lab.heard).toEqual(["rolled back: CHRONIK_NO_SPACE"]);
  lab.wal.failWhen = () => null;
  // The producer retries sequence 2: it must be new, not a duplicate nor out of order.
  send(idempotent(9, 0, 2));
  lab.wal.complete();
  await Promise.resolve();
  expect(results.at(-1)).toEqual([0, 2]);
  const read = await partition.read({ offset: 0, bytesMax: 1e6, offsetLimit: 3 });
  expect(valuesOf(read.chunks)).toEqual(["0=9/0", "1=9/1", "2=9/2"]);
});

test("while a failure drains, appends are refused instead of leaving a hole", async () => {
  const lab = new LogLab({ auto: false });
  const partition = await lab.open();
  const sinks: AppendSink[] = [];
  lab.wal.append = (_log, _base, _last, _count, _epoch, _bytes, sink) => void sinks.push(sink);
  const code = (bytes: Uint8Array) => partition.append(bytes, client).then((r) => r.errorCode);
  const first = code(batch());
  const second = code(batch());
  sinks[0]!.appendFailed(noSpace());
  // The second is still with the engine: an offset given now would be on the wrong side of a cut.
  expect(await code(batch())).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  expect(sinks.length).toBe(2);
  sinks[1]!.appendFailed(noSpace());
  expect([await first, await second]).toEqual(Array(2).fill(ErrorCode.KAFKA_STORAGE_ERROR));
  expect(partition.logEndOffset).toBe(0);
  const third = partition.append(batch(), client);
  sinks[2]!.appended(0, 0);
  expect((await third).baseOffset).toBe(0);
});

test("a frame behind a gap stops the partition", async () => {
  const lab = new LogLab({ auto: false });
  const partition = await lab.open();
  const sinks: AppendSink[] = [];
  lab.wal.append = (_log, _base, _last, _count, _epoch, _bytes, sink) => void sinks.push(sink);
  const first = partition.append(batch(), client);
  const second = partition.append(batch(), client);
  sinks[0]!.appendFailed(noSpace());
  sinks[1]!.appended(0, 0);
  expect((await first).errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  expect((await second).errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  expect(partition.damage?.reason).toContain("offset 1");
  expect(partition.highWatermark).toBe(0);
  const later = await partition.append(batch(), client);
  expect(later.errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
});

test("a retry of a pending batch waits for its fsync and gets its offset", async () => {
  const lab = new LogLab({ auto: false });
  const partition = await lab.open();
  const answers: string[] = [];
  const send = (name: string) =>
    void partition
      .append(idempotent(1, 0, 0), client)
      .then((r) => answers.push(`${name}:${r.errorCode}:${r.baseOffset}`));
  send("original");
  send("retry");
  await Promise.resolve();
  expect(answers).toEqual([]);
  expect(lab.wal.submitted).toBe(1);
  lab.wal.complete();
  await Promise.resolve();
  expect(answers).toEqual(["original:0:0", "retry:0:0"]);
  send("late");
  await Promise.resolve();
  expect(answers.at(-1)).toBe("late:0:0");
});

test("a retry of a batch that then fails, fails too", async () => {
  const lab = new LogLab({ auto: false });
  const partition = await lab.open();
  const original = partition.append(idempotent(1, 0, 0), client);
  const retry = partition.append(idempotent(1, 0, 0), client);
  lab.wal.failWhen = () => noSpace();
  lab.wal.complete();
  expect((await original).errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  expect((await retry).errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
});

test("sequence errors have their exact codes", async () => {
  const lab = new LogLab();
  const partition = await lab.open();
  const code = async (bytes: Uint8Array) => (await partition.append(bytes, client)).errorCode;
  expect(await code(idempotent(1, 3, 0, 2))).toBe(0);
  expect(await code(idempotent(1, 3, 3))).toBe(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
  expect(await code(idempotent(1, 2, 2))).toBe(ErrorCode.INVALID_PRODUCER_EPOCH);
  expect(await code(idempotent(1, 4, 5))).toBe(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
  expect(await code(idempotent(1, 4, 0))).toBe(0);
  expect(await code(idempotent(2, 0, 77))).toBe(0);
  expect(partition.logEndOffset).toBe(4);
});

test("what a client may not write", async () => {
  const lab = new LogLab();
  const partition = await lab.open({ maxMessageBytes: 300 });
  const code = async (bytes: Uint8Array) => (await partition.append(bytes, client)).errorCode;
  const broken = batch({ values: ["x"] });
  broken[broken.length - 1]! ^= 1;
  const two = Buffer.concat([batch(), batch()]);
  expect(await code(broken)).toBe(ErrorCode.CORRUPT_MESSAGE);
  expect(await code(two)).toBe(ErrorCode.INVALID_RECORD);
  expect(await code(batch().subarray(0, 40))).toBe(ErrorCode.INVALID_RECORD);
  expect(await code(batch({ baseOffset: 5 }))).toBe(ErrorCode.INVALID_RECORD);
  expect(await code(batch({ isControl: true }))).toBe(ErrorCode.INVALID_RECORD);
  expect(await code(batch({ producerId: 4, producerEpoch: 0 }))).toBe(ErrorCode.INVALID_RECORD);
  expect(await code(batch({ timestampType: "LogAppendTime" }))).toBe(ErrorCode.INVALID_TIMESTAMP);
  expect(await code(batch({ values: ["x".repeat(300)] }))).toBe(ErrorCode.MESSAGE_TOO_LARGE);
  const future = lab.clock.nowMs() + 3_700_000;
  expect(await code(batch({ timestamps: [future] }))).toBe(ErrorCode.INVALID_TIMESTAMP);
  expect(partition.logEndOffset).toBe(0);
  expect(lab.disk.logs.get(partition.dir)!.segments).toEqual([]);
});

test("a compacted topic rejects the batch and names each record without a key", async () => {
  const lab = new LogLab();
  const partition = await lab.open({ compact: true });
  const bytes = batch({ values: ["a", "b", "c"], keys: ["k", null, null] });
  const result = await partition.append(bytes, client);
  expect(result.errorCode).toBe(ErrorCode.INVALID_RECORD);
  expect(result.recordErrors.map((error) => error.batchIndex)).toEqual([1, 2]);
  expect(partition.logEndOffset).toBe(0);
});

test("LogAppendTime stamps the batch, and its checksum holds", async () => {
  const lab = new LogLab();
  const partition = await lab.open({ timestampType: "LogAppendTime" });
  const result = await partition.append(batch({ timestamps: [5] }), client);
  expect(result.logAppendTimeMs).toBe(lab.clock.nowMs());
  const read = await partition.read({ offset: 0, bytesMax: 1e6, offsetLimit: 1 });
  expect(lab.wal.checkBatch(read.chunks[0]!).fault).toBeNull();
  const [only] = [...batchesIn(read.chunks[0]!)];
  expect(only!.header.maxTimestamp).toBe(lab.clock.nowMs());
});

function gzipped(values: string[]): Uint8Array {
  const plain = batch({ values });
  const payload = Bun.gzipSync(new Uint8Array(plain.subarray(61)));
  const bytes = Buffer.concat([plain.subarray(0, 61), payload]);
  bytes.writeInt32BE(bytes.length - 12, 8);
  bytes.writeInt16BE(1, 21);
  bytes.writeUInt32BE(crc32c(bytes.subarray(21)), 17);
  return bytes;
}

test("a compressed batch of very many records is rejected unread", async () => {
  const lab = new LogLab();
  const partition = await lab.open({ timestampAfterMaxMs: 0 });
  const many = gzipped(Array.from({ length: 20_001 }, () => ""));
  let unpacked = 0;
  const decompress = lab.wal.decompress.bind(lab.wal);
  lab.wal.decompress = (...args) => {
    unpacked++;
    return decompress(...args);
  };
  lab.clock.nowMs = () => 1_600_000_000_000;
  expect((await partition.append(many, client)).errorCode).toBe(ErrorCode.INVALID_TIMESTAMP);
  // By the validation of the memory WAL itself.
  expect(unpacked).toBe(1);
});

test("later batches wait behind a validation, in order", async () => {
  const lab = new LogLab();
  lab.wal.validations = [];
  const partition = await lab.open();
  const order: string[] = [];
  const send = (name: string, bytes: Uint8Array) =>
    partition.append(bytes, client).then((r) => order.push(`${name}@${r.baseOffset}`));
  const all = [
    send("gzip", gzipped(["a", "b"])),
    send("plain", batch()),
    send("gzip2", gzipped(["c"])),
  ];
  await turn();
  expect(partition.logEndOffset).toBe(0);
  lab.wal.validations[1]!();
  await turn();
  expect(order).toEqual([]);
  lab.wal.validations[0]!();
  await Promise.all(all);
  expect(order).toEqual(["gzip@0", "plain@2", "gzip2@3"]);
});

test("bytes in flight are bounded; what waits goes in when there is room, in order", async () => {
  const size = batch().length;
  const lab = new LogLab({ auto: false, limits: { appendBytesInFlightMax: size * 2 } });
  const partition = await lab.open();
  const offsets: number[] = [];
  const codes: number[] = [];
  for (let n = 0; n < 6; n++) {
    void partition.append(batch(), client).then((r) => {
      offsets.push(r.baseOffset);
      codes.push(r.errorCode);
    });
  }
  expect(lab.wal.submitted).toBe(2);
  await turn();
  // Two in flight, two waiting, two beyond both bounds.
  expect(codes).toEqual([ErrorCode.REQUEST_TIMED_OUT, ErrorCode.REQUEST_TIMED_OUT]);
  lab.wal.complete(1);
  await turn();
  expect(lab.wal.submitted).toBe(2);
  while (lab.wal.submitted > 0) lab.wal.complete();
  await turn();
  expect(offsets).toEqual([-1, -1, 0, 1, 2, 3]);
  expect(lab.partitions.appendBytesInFlight).toBe(0);
  // The second bound is free again as well.
  const again = Array.from({ length: 4 }, () => partition.append(batch(), client));
  await turn();
  while (lab.wal.submitted > 0) {
    lab.wal.complete();
    await turn();
  }
  expect((await Promise.all(again)).map((result) => result.errorCode)).toEqual([0, 0, 0, 0]);
});

test("an epoch that began in what was rolled back begins again at the durable end", async () => {
  const lab = new LogLab({ auto: false });
  const partition = await lab.open({}, 1);
  const lost = partition.append(batch(), client);
  partition.becomeLeader(2);
  lab.wal.failWhen = () => noSpace();
  lab.wal.complete();
  await lost;
  expect(partition.leaderEpochs()).toEqual([[2, 0]]);
});

test("a retry that waited for memory is answered when its original's end makes room", async () => {
  const first = idempotent(7, 0, 0);
  const limits = { appendBytesInFlightMax: first.length * 2 };
  const lab = new LogLab({ auto: false, limits });
  const partition = await lab.open();
  const answers = [first, idempotent(7, 0, 1), idempotent(7, 0, 2), first].map((bytes) =>
    partition.append(bytes, client),
  );
  expect(lab.wal.submitted).toBe(2);
  while (lab.wal.submitted > 0) lab.wal.complete(1);
  const results = await Promise.all(answers);
  expect(results.map((r) => [r.errorCode, r.baseOffset])).toEqual([
    [0, 0],
    [0, 1],
    [0, 2],
    [0, 0],
  ]);
});

test("DeleteRecords moves the log start durably and frees whole segments", async () => {
  const lab = new LogLab();
  lab.wal.segmentBytesMax = 300;
  const partition = await lab.open();
  for (let n = 0; n < 10; n++) await partition.append(batch(), client);
  const before = partition.segments().length;
  expect(before).toBeGreaterThan(2);
  expect(await partition.deleteRecordsBefore(11)).toEqual({
    errorCode: ErrorCode.OFFSET_OUT_OF_RANGE,
    logStartOffset: -1,
  });
  expect(await partition.deleteRecordsBefore(7)).toEqual({ errorCode: 0, logStartOffset: 7 });
  expect(partition.segments().length).toBeLessThan(before);
  expect((await partition.read({ offset: 6, bytesMax: 1, offsetLimit: 10 })).errorCode).toBe(1);
  const next = lab.restart();
  expect((await next.open()).logStartOffset).toBe(7);
  expect(next.heard).toEqual([]);
});

test("DeleteRecords that cannot be made durable changes nothing", async () => {
  const lab = new LogLab();
  const partition = await lab.open();
  for (let n = 0; n < 3; n++) await partition.append(batch(), client);
  lab.files.failWrite = () => noSpace();
  const result = await partition.deleteRecordsBefore(2);
  expect(result.errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
  expect(partition.logStartOffset).toBe(0);
  lab.files.failWrite = () => null;
  await partition.checkpoint();
  expect((await lab.restart().open()).logStartOffset).toBe(0);
});

test("offsets by time, isolation and epoch", async () => {
  const lab = new LogLab();
  const partition = await lab.open({}, 2);
  await partition.append(batch({ values: ["a", "b"], timestamps: [10, 40] }), client);
  await partition.append(batch({ values: ["c"], timestamps: [20] }), client);
  const at = (timestamp: number) => partition.offsetForTimestamp(timestamp, "read_uncommitted");
  expect(await at(-1)).toEqual({ errorCode: 0, offset: 3, timestamp: -1, leaderEpoch: 2 });
  expect(await at(-2)).toEqual({ errorCode: 0, offset: 0, timestamp: -1, leaderEpoch: 2 });
  expect(await at(-3)).toEqual({ errorCode: 0, offset: 1, timestamp: 40, leaderEpoch: 2 });
  expect(await at(11)).toEqual({ errorCode: 0, offset: 1, timestamp: 40, leaderEpoch: 2 });
  expect(await at(41)).toEqual({ errorCode: 0, offset: -1, timestamp: -1, leaderEpoch: -1 });
  expect(partition.endOffsetForEpoch(2)).toEqual({ leaderEpoch: 2, endOffset: 3 });
  partition.becomeLeader(5);
  expect(partition.endOffsetForEpoch(2)).toEqual({ leaderEpoch: 2, endOffset: 3 });
  expect(partition.endOffsetForEpoch(3)).toEqual({ leaderEpoch: 2, endOffset: 3 });
  expect(partition.endOffsetForEpoch(6)).toEqual({ leaderEpoch: -1, endOffset: -1 });
});

test("a header that lies about the largest timestamp is corrected, checksum included", async () => {
  const lab = new LogLab();
  const partition = await lab.open();
  const lying = Buffer.from(batch({ timestamps: [500] }));
  lying.writeBigInt64BE(7n, 35);
  lying.writeUInt32BE(crc32c(lying.subarray(21)), 17);
  expect((await partition.append(lying, client)).errorCode).toBe(0);
  const read = await partition.read({ offset: 0, bytesMax: 1e6, offsetLimit: 1 });
  const [only] = [...batchesIn(read.chunks[0]!)];
  expect(only!.header.maxTimestamp).toBe(500);
  expect(lab.wal.checkBatch(read.chunks[0]!).fault).toBeNull();
});

test("ten times the bound goes through, and nothing stays booked", async () => {
  const size = batch().length;
  const lab = new LogLab({ limits: { appendBytesInFlightMax: size * 20 } });
  const partition = await lab.open();
  for (let n = 0; n < 20; n++) {
    if (n % 5 === 4) lab.wal.failWhen = () => noSpace();
    await Promise.all(Array.from({ length: 10 }, () => partition.append(batch(), client)));
    lab.wal.failWhen = () => null;
  }
  expect(lab.partitions.appendBytesInFlight).toBe(0);
  expect(partition.highWatermark).toBe(160);
});

test("a partition nothing was appended to writes nothing when it closes", async () => {
  const lab = new LogLab();
  await lab.open();
  await lab.partitions.close();
  expect([...lab.disk.files.keys()]).toEqual(["/data/wal/a/topic-id"]);
});

test("a dropped partition's checkpoint cannot land in the folder of its successor", async () => {
  const lab = new LogLab();
  const partition = await lab.open();
  await partition.append(batch(), client);
  const write = lab.files.writeFile.bind(lab.files);
  let release: () => void = () => undefined;
  lab.files.writeFile = async (path, bytes) => {
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    return write(path, bytes);
  };
  const late = partition.checkpoint();
  const dropped = lab.partitions.drop(partition.topicId);
  await turn();
  lab.files.writeFile = write;
  expect(lab.disk.logs.has("/data/wal/a/0")).toBe(true);
  release();
  await Promise.all([late, dropped]);
  const again = { name: "a", id: "AAAAAAAAAAAAAAAAAAAAAw", internal: false };
  await lab.open({}, 0, again);
  expect(partition.checkpoint(1)).rejects.toThrow("closed");
  expect(partition.seal()).rejects.toThrow("closed");
  expect(lab.disk.files.has("/data/wal/a/0/checkpoint")).toBe(false);
});

test("closing waits for what is in flight and refuses what comes after", async () => {
  const lab = new LogLab({ auto: false });
  const partition = await lab.open();
  const last = partition.append(batch(), client);
  let closed = false;
  const closing = partition.close().then(() => {
    closed = true;
  });
  await turn();
  expect(closed).toBe(false);
  const after = await partition.append(batch(), client);
  expect(after.errorCode).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  lab.wal.complete();
  await closing;
  expect((await last).errorCode).toBe(0);
});

test("lastOffset of what is read is below the limit", async () => {
  const lab = new LogLab();
  const partition = await lab.open();
  for (let n = 0; n < 5; n++) await partition.append(batch({ values: ["x", "y"] }), client);
  const read = await partition.read({ offset: 0, bytesMax: 1e6, offsetLimit: 6 });
  const lasts = [...batchesIn(read.chunks[0]!)].map(({ header }) => lastOffset(header));
  expect(lasts).toEqual([1, 3, 5]);
});
