/** The checker itself: it must see every kind of loss it is there for. */
import { expect, test } from "bun:test";
import { crc32c } from "../../src/protocol/crc32c.ts";
import {
  parseBatchHeader,
  patchBaseOffset,
  patchLeaderEpoch,
  sealBatch,
} from "../../src/protocol/record-batch.ts";
import { buildBatch } from "../../src/protocol/records.ts";
import { AckedLog, keptHash, partitionName } from "./acked-log.ts";
import { PartitionChecker } from "./verify.ts";

const count = 5;

/** One record a batch: base offset and sequence are the index. */
function batch(index: number, value = `value ${index}`, sequence = index, epoch = 0): Uint8Array {
  const record = {
    offsetDelta: 0,
    timestamp: 1,
    key: null,
    value: Buffer.from(value),
    headers: [],
  };
  const options = { producerId: 7, producerEpoch: 0, baseSequence: sequence };
  const bytes = buildBatch([record], options, crc32c);
  patchBaseOffset(bytes, 0, index);
  patchLeaderEpoch(bytes, 0, epoch);
  return bytes;
}

function log(): Uint8Array[] {
  return Array.from({ length: count }, (_, index) => batch(index));
}

function checkerOf(): PartitionChecker {
  const acked = new AckedLog();
  for (const [index, bytes] of log().entries()) {
    const header = parseBatchHeader(bytes);
    if (typeof header === "string") throw new Error(header);
    const hash = keptHash(bytes, 0, header);
    acked.add(partitionName("t", 0), { baseOffset: index, records: 1, hash });
  }
  return new PartitionChecker("t", 0, acked);
}

function reader(batches: readonly Uint8Array[]) {
  return (offset: number): Promise<Uint8Array> => {
    return Promise.resolve(Buffer.concat(batches.slice(offset)));
  };
}

test("a log that holds what was acknowledged passes, and so does more", async () => {
  await checkerOf().readAll(reader(log()));
  await checkerOf().readAll(reader([...log(), batch(count)]));
});

test.each([
  ["a lost end", (batches: Uint8Array[]) => batches.slice(0, count - 1), "is missing"],
  ["a hole", (batches: Uint8Array[]) => batches.toSpliced(2, 1), "offset 3 found"],
  [
    "a batch stored twice",
    (batches: Uint8Array[]) => [...batches, batch(count, "again", count - 1)],
    "sequence 5",
  ],
  ["other bytes", (batches: Uint8Array[]) => batches.with(2, batch(2, "changed")), "another batch"],
  ["a lost sequence", (batches: Uint8Array[]) => batches.with(2, batch(2, "x", 9)), "sequence 2"],
  ["a bit that changed", (batches: Uint8Array[]) => batches.with(2, flipped(batch(2))), "CRC"],
  [
    "an epoch that falls",
    (batches: Uint8Array[]) => batches.with(1, batch(1, "value 1", 1, 3)),
    "epoch 0 after 3",
  ],
])("%s is seen", async (_what, change, message) => {
  await expect(checkerOf().readAll(reader(change(log())))).rejects.toThrow(message);
});

test("what was read once must be there again", async () => {
  const more = [...log(), batch(count), batch(count + 1)];
  const checker = checkerOf();
  await checker.readAll(reader(more));
  await expect(checker.readAll(reader(more.slice(0, -1)))).rejects.toThrow("ended at 7 before");
  const other = checkerOf();
  await other.readAll(reader(more));
  const replaced = more.with(count, batch(count, "not what it was"));
  await expect(other.readAll(reader(replaced))).rejects.toThrow("another before");
});

test("one offset acknowledged for two batches is refused", () => {
  const acked = new AckedLog();
  acked.add("t-0", { baseOffset: 3, records: 1, hash: 1n });
  acked.add("t-0", { baseOffset: 3, records: 1, hash: 1n });
  expect(() => acked.add("t-0", { baseOffset: 3, records: 1, hash: 2n })).toThrow("two batches");
});

function flipped(bytes: Uint8Array): Uint8Array {
  const last = bytes.length - 2;
  return bytes.with(last, (bytes[last] ?? 0) ^ 1);
}

test("a batch sealed anew under other bytes still differs from the acknowledged one", async () => {
  const forged = flipped(batch(2));
  sealBatch(forged, 0, crc32c);
  await expect(checkerOf().readAll(reader(log().with(2, forged)))).rejects.toThrow("another batch");
});
