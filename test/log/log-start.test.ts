import { expect, test } from "bun:test";
import { BrokerError } from "../../src/lib/errors.ts";
import { noColdReader } from "../../src/log/ports.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { batch, LogLab } from "../support/log-lab.ts";
import { noSpace } from "../support/memory-wal.ts";

const client = { origin: "client" } as const;

test("what local retention keeps in the WAL is found by time without its archive", async () => {
  const away = () => Promise.reject(new BrokerError("CHRONIK_STORE_UNAVAILABLE", "store is down"));
  let archived: { start: number; end: number } | null = null;
  const lab = new LogLab({
    cold: { ...noColdReader, archivedRange: () => archived, findTime: away },
  });
  const partition = await lab.open();
  for (const timestamp of [1000, 2000, 3000]) {
    await partition.append(batch({ timestamps: [timestamp] }), client);
  }
  archived = { start: 0, end: 2 };
  const found = await partition.offsetForTimestamp(1500, "read_uncommitted");
  expect(found).toMatchObject({ errorCode: 0, offset: 1, timestamp: 2000 });
  expect(lab.heard).toEqual([]);
});

test("the log start only goes up, is told where it is durable, and survives", async () => {
  const lab = new LogLab();
  const partition = await lab.open();
  for (let n = 0; n < 4; n++) await partition.append(batch(), client);
  await partition.start.advance(3);
  await partition.start.advance(1);
  expect(partition.logStartOffset).toBe(3);
  expect(partition.leaderEpochs()).toEqual([[0, 3]]);
  // Retention looks by itself: only DeleteRecords tells.
  expect(lab.heard).toEqual([]);
  expect(await partition.deleteRecordsBefore(4)).toEqual({ errorCode: 0, logStartOffset: 4 });
  expect(lab.heard).toEqual(["starts at 4"]);
  const again = await lab.restart().open();
  expect(again.logStartOffset).toBe(4);
});

test("a log start that the disk refuses did not move", async () => {
  const lab = new LogLab();
  const partition = await lab.open();
  for (let n = 0; n < 2; n++) await partition.append(batch(), client);
  lab.files.failWrite = () => noSpace();
  await expect(partition.start.advance(1)).rejects.toThrow(BrokerError);
  const refused = await partition.deleteRecordsBefore(1);
  expect(refused).toEqual({ errorCode: ErrorCode.KAFKA_STORAGE_ERROR, logStartOffset: -1 });
  expect(partition.logStartOffset).toBe(0);
  expect(lab.heard).toEqual(["checkpoint failed"]);
});
