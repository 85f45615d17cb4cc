/** What a reader is told of aborts while the log, or its files, change under it. */
import { expect, test } from "bun:test";
import { BrokerError } from "../../src/lib/errors.ts";
import { type CleanRules, noColdReader } from "../../src/log/ports.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { AbortedHistory, AbortedLab } from "../support/aborted-lab.ts";
import { batch, LogLab, topicA, turn } from "../support/log-lab.ts";
import { MemoryArchive } from "../support/memory-archive.ts";
import { noSpace } from "../support/memory-wal.ts";

const producer = { producerId: 1, producerEpoch: 0 };
const abort = { ...producer, commit: false, coordinatorEpoch: 0, transactionVersion: 0 };

/** Offsets 0 and 1, an aborted transaction, are archived; 2 is in the WAL. */
async function archivedAbort() {
  const archive = new MemoryArchive();
  const lab = new LogLab({ cold: archive });
  const partition = await lab.open();
  const data = batch({ ...producer, baseSequence: 0, isTransactional: true });
  await partition.append(data, { origin: "client" });
  await partition.appendMarker(abort);
  await partition.seal();
  await partition.append(batch(), { origin: "client" });
  await archive.take(partition, true);
  // A new opening has nothing in its tail.
  const opened = await lab.restart({ cold: archive }).open();
  const read = archive.read.bind(archive);
  let go = () => {};
  archive.read = async (...args) => {
    const chunks = await read(...args);
    await new Promise<void>((resolve) => {
      go = resolve;
    });
    return chunks;
  };
  const reading = opened.read({ offset: 0, bytesMax: 1, offsetLimit: 3, withAborted: true });
  await turn();
  return { archive, opened, reading, go: () => go() };
}

test("an archive that goes with its topic takes what is read of it along", async () => {
  const { archive, opened, reading, go } = await archivedAbort();
  await opened.abandon();
  archive.archivedRange = () => null;
  go();
  expect(await reading).toMatchObject({
    errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER,
    chunks: [],
  });
});

test("a log start that passes what is read leaves nothing of it", async () => {
  const { archive, opened, reading, go } = await archivedAbort();
  expect((await opened.deleteRecordsBefore(3)).errorCode).toBe(ErrorCode.NONE);
  archive.archivedRange = () => ({ start: 3, end: 3 });
  archive.aborted = [];
  go();
  expect(await reading).toMatchObject({ errorCode: ErrorCode.OFFSET_OUT_OF_RANGE, chunks: [] });
});

/** `counts` aborts in a file each, of one producer. */
async function inFiles(...counts: number[]): Promise<AbortedLab> {
  const lab = new AbortedLab(new AbortedHistory(() => 0.5), 1);
  for (const count of counts) {
    grow(lab, count);
    await lab.log.spill();
  }
  return lab;
}

function grow(lab: AbortedLab, count: number): void {
  const end = lab.history.aborted.length + count;
  while (lab.history.aborted.length < end) lab.grow(1, 1);
}

test("a file that nobody can read does not keep newer aborts in memory", async () => {
  const lab = await inFiles(20);
  const { history } = lab;
  const [path] = lab.paths;
  const broken = new BrokerError("CHRONIK_IO", "a bad sector");
  const fails = () => Promise.reject(broken);
  const bytes = lab.disk.files.get(path!)!;
  const readLog = lab.wal.read;
  // Lost, and the log cannot be read either.
  lab.disk.files.delete(path!);
  lab.wal.read = fails;
  grow(lab, 30);
  await lab.log.spill();
  expect([lab.log.sizeInMemory, lab.failures]).toEqual([0, [broken]]);
  lab.wal.read = readLog;
  lab.disk.files.set(path!, bytes);
  // There, and cannot be read.
  const readFile = lab.files.readFile;
  lab.files.readFile = fails;
  grow(lab, 60);
  await lab.log.spill();
  expect([lab.log.sizeInMemory, lab.failures]).toEqual([0, [broken, broken]]);
  lab.files.readFile = readFile;
  expect(await lab.log.overlapping(0, history.end)).toEqual(history.overlapping(0, history.end));
  expect(lab.rebuilt).toEqual([]);
});

test("a file that goes while it is joined is not taken for lost", async () => {
  const lab = await inFiles(20);
  await lab.checkpoint();
  grow(lab, 30);
  const readFile = lab.files.readFile.bind(lab.files);
  lab.files.readFile = async (...args) => {
    lab.files.readFile = readFile;
    lab.history.start = lab.history.aborted[25]!.lastOffset;
    await lab.checkpoint();
    return readFile(...args);
  };
  await lab.log.spill();
  expect(lab.rebuilt).toEqual([]);
  await lab.checkpoint();
  await lab.checkpoint();
  expect(lab.paths).toHaveLength(1);
  expect(lab.log.sizeInMemory).toBe(0);
});

test("what the log tells of a lost file is told, also where no file can be written", async () => {
  const lab = await inFiles(20);
  lab.disk.files.delete(lab.paths[0]!);
  lab.files.failWrite = () => noSpace();
  const { history } = lab;
  expect(await lab.log.overlapping(0, history.end)).toEqual(history.overlapping(0, history.end));
  expect(lab.rebuilt).toEqual([]);
  expect(lab.failures).toHaveLength(1);
  lab.files.failWrite = () => null;
  expect(await lab.log.overlapping(0, history.end)).toEqual(history.overlapping(0, history.end));
  expect(lab.rebuilt).toHaveLength(1);
});

test("a log that is cleaned from now on has aborts in files from before", async () => {
  const topic = { ...topicA, internal: true };
  const lab = new LogLab({ limits: { abortedSpillMin: 2 }, cold: noColdReader });
  const partition = await lab.open({ compact: false }, 0, topic);
  for (let sequence = 0; sequence < 6; sequence++) {
    const value = "v".repeat(200 << 10);
    const data = batch({
      ...producer,
      baseSequence: sequence,
      isTransactional: true,
      values: [value],
    });
    await partition.append(data, { origin: "client" });
    await partition.appendMarker(abort);
    await turn();
  }
  const runs = () => [...lab.disk.files.keys()].filter((path) => path.includes("/aborted-"));
  await partition.checkpoint();
  expect(runs().length).toBeGreaterThan(0);
  await lab.open({ compact: true }, 0, topic);
  const seen: unknown[] = [];
  Object.assign(lab.wal, {
    clean: (_log: number, rules: CleanRules) => {
      seen.push(rules.aborted.length);
      return Promise.resolve({ segments: 1, bytesBefore: 2, bytesAfter: 1 });
    },
  });
  await partition.seal();
  await partition.append(batch(), { origin: "coordinator" });
  expect(await partition.cleanIfDirty(0)).not.toBeNull();
  await turn();
  expect(seen).toEqual([6]);
  expect([partition.rememberedAborts, runs()]).toEqual([0, []]);
});

test("an opening that fails behind the log's leaves the log closed", async () => {
  const first = new LogLab();
  const partition = await first.open();
  await partition.append(batch(), { origin: "client" });
  await partition.checkpoint();
  const leftover = `${partition.dir}/aborted-7`;
  first.disk.files.set(leftover, new Uint8Array(3));
  const lab = first.restart();
  const closed: number[] = [];
  const closeLog = lab.wal.closeLog.bind(lab.wal);
  lab.wal.closeLog = (log) => {
    closed.push(log);
    return closeLog(log);
  };
  const removeFile = lab.files.removeFile;
  lab.files.removeFile = () => Promise.reject(noSpace());
  await expect(lab.open()).rejects.toThrow("no space");
  expect(closed).toEqual([1]);
  lab.files.removeFile = removeFile;
  expect((await lab.open()).damage).toBeNull();
  expect(lab.disk.files.has(leftover)).toBe(false);
});

test("a close does not wait for a log to be read to its end", async () => {
  const lab = await inFiles(20);
  lab.disk.files.delete(lab.paths[0]!);
  grow(lab, 30);
  const { read } = lab.wal;
  let reads = 0;
  let closing = Promise.resolve();
  lab.wal.read = (log, offset) => {
    if (reads++ === 0) closing = lab.log.close();
    return read(log, offset, offset + 1, 1);
  };
  await expect(lab.log.spill()).rejects.toThrow("closed");
  await closing;
  expect(reads).toBe(1);
});
