import { expect, test } from "bun:test";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { batchesIn, compressionOf } from "../../src/protocol/record-batch.ts";
import { batch, idempotent, LogLab, turn } from "../support/log-lab.ts";

const client = { origin: "client" } as const;
const gzip = { codec: "gzip", level: -1 } as const;

test("batches compressed anew keep their place before and behind plain ones", async () => {
  const lab = new LogLab();
  lab.wal.validations = [];
  const partition = await lab.open({ compression: gzip });
  const order: string[] = [];
  const send = (name: string, bytes: Uint8Array, origin: "client" | "coordinator" = "client") =>
    partition.append(bytes, { origin }).then((r) => order.push(`${name}@${r.baseOffset}`));
  const all = [
    send("first", batch({ values: ["a", "b"] })),
    send("own", batch(), "coordinator"),
    send("third", batch()),
  ];
  await turn();
  expect(partition.logEndOffset).toBe(0);
  lab.wal.validations[1]!();
  await turn();
  expect(order).toEqual([]);
  lab.wal.validations[0]!();
  await Promise.all(all);
  expect(order).toEqual(["first@0", "own@2", "third@3"]);
  const read = await partition.read({ offset: 0, bytesMax: 1e6, offsetLimit: 4 });
  const codecs = read.chunks.flatMap((chunk) =>
    [...batchesIn(chunk)].map(({ header }) => compressionOf(header.attributes)),
  );
  expect(codecs).toEqual(["gzip", "none", "gzip"]);
});

test("only so many are compressed at a time, in all", async () => {
  const lab = new LogLab({ limits: { recompressionsMax: 2 } });
  const waiting: (() => void)[] = [];
  lab.wal.validations = waiting;
  const partition = await lab.open({ compression: gzip });
  const all = Array.from({ length: 5 }, (_, n) => partition.append(idempotent(1, 0, n), client));
  const started: number[] = [];
  for (let done = 0; done < all.length; done++) {
    await turn();
    started.push(waiting.length);
    waiting[done]!();
  }
  expect(started).toEqual([2, 3, 4, 5, 5]);
  expect((await Promise.all(all)).map(({ baseOffset }) => baseOffset)).toEqual([0, 1, 2, 3, 4]);
});

test("a batch that grows is booked at its size; one that does not fit is refused", async () => {
  // Alone it always fits; beside another that waits, it has to fit.
  const limits = { appendBytesInFlightMax: 4_000 };
  const lab = new LogLab({ limits });
  lab.wal.validations = [];
  const partition = await lab.open({ compression: gzip });
  const big = batch({ values: ["x".repeat(30_000)] });
  const zipped = partition.append(big, client);
  await turn();
  lab.wal.validations.shift()!();
  expect((await zipped).errorCode).toBe(0);
  const read = await partition.read({ offset: 0, bytesMax: 1e6, offsetLimit: 1 });
  const small = new Uint8Array(read.chunks[0]!);
  small.fill(0, 0, 8);
  partition.config = { ...partition.config, compression: { codec: "none", level: null } };
  const answers = [partition.append(small, client), partition.append(small, client)];
  for (let n = 0; n < answers.length; n++) {
    await turn();
    lab.wal.validations.pop()!();
  }
  const codes = (await Promise.all(answers)).map(({ errorCode }) => errorCode);
  expect(codes).toEqual([0, ErrorCode.REQUEST_TIMED_OUT]);
  // Nothing stays booked: the queue takes as much as before.
  const after = partition.append(small, client);
  await turn();
  lab.wal.validations.pop()!();
  expect((await after).errorCode).toBe(0);
});

test("a partition that is dropped meanwhile keeps nothing booked", async () => {
  const lab = new LogLab({ limits: { appendBytesInFlightMax: 1_000 } });
  lab.wal.validations = [];
  const partition = await lab.open({ compression: gzip });
  const sent = partition.append(batch(), client);
  await turn();
  await lab.partitions.drop(partition.topicId);
  expect((await sent).errorCode).not.toBe(0);
  lab.wal.validations.pop()!();
  await turn();
  const other = await lab.open({ compression: gzip });
  const fits = other.append(batch({ values: ["y".repeat(5_000)] }), client);
  await turn();
  lab.wal.validations.pop()!();
  expect((await fits).errorCode).toBe(0);
});
