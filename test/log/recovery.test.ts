import { expect, test } from "bun:test";
import { BrokerError } from "../../src/lib/errors.ts";
import type { ColdReader } from "../../src/log/ports.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { batch, idempotent, LogLab, topicA, topicB, turn } from "../support/log-lab.ts";
import { MemoryDisk } from "../support/memory-wal.ts";

const client = { origin: "client" } as const;

function archivedUpTo(end: number, start = 0): ColdReader {
  return {
    archivedRange: () => ({ start, end }),
    read: (_id, _index, offset) => Promise.resolve({ chunks: [], nextOffset: offset }),
    findTime: () => Promise.resolve(null),
    abortedTransactions: () => Promise.resolve([]),
  };
}

test("kill -9: offsets, epochs and dedupe go on from the frames alone", async () => {
  const lab = new LogLab();
  const partition = await lab.open({}, 1);
  for (let n = 0; n < 3; n++) await partition.append(idempotent(5, 0, n), client);
  const next = lab.restart();
  const recovered = await next.open({}, 2);
  expect(recovered.logEndOffset).toBe(3);
  expect(recovered.highWatermark).toBe(3);
  expect(recovered.leaderEpochs()).toEqual([
    [1, 0],
    [2, 3],
  ]);
  const retry = await recovered.append(idempotent(5, 0, 1), client);
  expect([retry.errorCode, retry.baseOffset]).toEqual([0, 1]);
  expect((await recovered.append(idempotent(5, 0, 3), client)).baseOffset).toBe(3);
});

test("after everything was archived and released: offsets, epochs and dedupe go on", async () => {
  const lab = new LogLab();
  const partition = await lab.open({}, 4);
  for (let n = 0; n < 7; n++) await partition.append(idempotent(5, 0, n), client);
  await partition.seal();
  await partition.checkpoint(7);
  await partition.releaseSegments(partition.segments().map((segment) => segment.id));
  expect(partition.segments()).toEqual([]);
  const idsBefore = lab.disk.logs.get(partition.dir)!.nextId;
  // As after a crash: the engine forgets its next id with the files.
  lab.disk.logs.get(partition.dir)!.nextId = 0;
  const recovered = await lab.restart({ cold: archivedUpTo(7) }).open({}, 5);
  expect(recovered.damage).toBeNull();
  expect([recovered.logStartOffset, recovered.logEndOffset]).toEqual([0, 7]);
  expect(recovered.leaderEpochs()).toEqual([
    [4, 0],
    [5, 7],
  ]);
  expect(lab.disk.logs.get(partition.dir)!.nextId).toBe(idsBefore);
  const retry = await recovered.append(idempotent(5, 0, 6), client);
  expect([retry.errorCode, retry.baseOffset]).toEqual([0, 6]);
  const old = await recovered.append(idempotent(5, 0, 1), client);
  expect(old.errorCode).toBe(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
  expect((await recovered.append(idempotent(5, 0, 7), client)).baseOffset).toBe(7);
});

test("nothing is released before its checkpoint, its archive and its sealing", async () => {
  const lab = new LogLab();
  const partition = await lab.open();
  await partition.append(batch(), client);
  const [active] = partition.segments();
  expect(partition.releaseSegments([active!.id])).rejects.toThrow("sealed");
  lab.files.failWrite = () => new BrokerError("CHRONIK_NO_SPACE", "full");
  expect(partition.seal()).rejects.toThrow("full");
  await turn();
  expect(partition.releaseSegments([active!.id])).rejects.toThrow("checkpointed");
  lab.files.failWrite = () => null;
  await partition.checkpoint();
  expect(partition.releaseSegments([active!.id])).rejects.toThrow("archived");
  await partition.checkpoint(1);
  expect(await partition.releaseSegments([active!.id])).toBeGreaterThan(0);
});

test("what was registered, and not checkpointed yet, is left to its archive", async () => {
  const lab = new LogLab();
  const partition = await lab.open({}, 4);
  await partition.append(batch(), client);
  await partition.seal();
  await partition.append(batch(), client);
  expect(await partition.leaveToArchives(1)).toBeGreaterThan(0);
  expect(partition.localStartOffset).toBe(1);
  const recovered = await lab.restart({ cold: archivedUpTo(1) }).open({}, 4);
  expect(recovered.damage).toBeNull();
  expect([recovered.logStartOffset, recovered.logEndOffset]).toEqual([0, 2]);
});

test("a log that ends below its checkpoint or archives, or has a hole, is damaged", async () => {
  const damageOf = async (cold: ColdReader | undefined, edit: (lab: LogLab) => void) => {
    const lab = new LogLab();
    lab.wal.segmentBytesMax = 1;
    const partition = await lab.open();
    for (let n = 0; n < 4; n++) await partition.append(batch(), client);
    await partition.checkpoint();
    edit(lab);
    const next = lab.restart(cold === undefined ? {} : { cold });
    const damaged = await next.open();
    const produced = await damaged.append(batch(), client);
    const read = await damaged.read({ offset: damaged.highWatermark, bytesMax: 1, offsetLimit: 9 });
    return [damaged.damage?.reason, produced.errorCode, read.errorCode, next.heard.length];
  };
  const segmentsOf = (lab: LogLab) => lab.disk.logs.get("/data/wal/a/0")!.segments;
  const storage = ErrorCode.KAFKA_STORAGE_ERROR;
  expect(await damageOf(undefined, (lab) => void segmentsOf(lab).pop())).toEqual([
    "the log ends at offset 3 and its checkpoint at 4",
    storage,
    storage,
    1,
  ]);
  expect(await damageOf(archivedUpTo(5), () => undefined)).toEqual([
    "the log ends at offset 4 and its archives at 5",
    storage,
    storage,
    1,
  ]);
  expect(await damageOf(archivedUpTo(1), (lab) => void segmentsOf(lab).splice(0, 2))).toEqual([
    "offsets 1 to 1 are neither in the WAL nor archived",
    storage,
    storage,
    1,
  ]);
  expect(
    await damageOf(undefined, (lab) => {
      const file = lab.disk.files.get("/data/wal/a/0/checkpoint")!;
      file[file.length - 5]! ^= 1;
    }),
  ).toEqual(["/data/wal/a/0/checkpoint fails its checksum", storage, storage, 1]);
});

test("a checkpoint of a newer format is refused by name", async () => {
  const lab = new LogLab();
  const partition = await lab.open();
  await partition.checkpoint();
  const file = lab.disk.files.get("/data/wal/a/0/checkpoint")!;
  file["chronik-checkpoint ".length] = "9".charCodeAt(0);
  expect(lab.restart().open()).rejects.toThrow("format 9");
});

test("rotation by size checkpoints by itself", async () => {
  const lab = new LogLab();
  lab.wal.segmentBytesMax = 1;
  const partition = await lab.open();
  await partition.append(idempotent(1, 0, 0), client);
  await partition.append(idempotent(1, 0, 1), client);
  await turn();
  expect(lab.disk.files.has("/data/wal/a/0/checkpoint")).toBe(true);
  expect(partition.segments().map((segment) => segment.sealed)).toEqual([true, false]);
});

test("a producer is forgotten after producer.id.expiration.ms", async () => {
  const lab = new LogLab({ limits: { producerIdExpirationMs: () => 1000 } });
  const partition = await lab.open();
  await partition.append(idempotent(1, 0, 0), client);
  lab.clock.advance(999);
  const early = await partition.append(idempotent(1, 0, 5), client);
  expect(early.errorCode).toBe(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER);
  lab.clock.advance(1);
  expect(partition.expireProducers()).toBe(1);
  expect((await partition.append(idempotent(1, 0, 5), client)).errorCode).toBe(0);
});

test("a timer forgets idle producers, by the expiration time of the moment", async () => {
  let expirationMs = 10_000;
  const limits = { producerIdExpirationMs: () => expirationMs, producerIdCheckIntervalMs: 500 };
  const lab = new LogLab({ limits });
  const partition = await lab.open();
  const known = () => partition.activeProducers().map(({ producerId }) => producerId);
  await partition.append(idempotent(1, 0, 0), client);
  lab.clock.advance(9_999);
  expect(known()).toEqual([1]);
  await partition.append(idempotent(2, 0, 0), client);
  lab.clock.advance(500);
  expect(known()).toEqual([2]);
  expirationMs = 100;
  lab.clock.advance(500);
  expect(known()).toEqual([]);
});

test("the folder of another topic id is set aside, never deleted", async () => {
  const lab = new LogLab();
  const partition = await lab.open();
  await partition.append(batch(), client);
  const again = { ...topicA, id: topicB.id };
  const next = lab.restart();
  const fresh = await next.open({}, 0, again);
  expect(fresh.logEndOffset).toBe(0);
  const to = `/data/quarantine/a-${topicA.id}`;
  expect(next.heard).toEqual([`quarantined: /data/wal/a ${to}`]);
  expect(lab.disk.logs.get(`${to}/0`)!.segments.length).toBe(1);
});

test("a folder without an id that holds logs is set aside; an empty one is taken", async () => {
  const disk = new MemoryDisk();
  disk.dirs.add("/data/wal/a");
  const lab = new LogLab({ disk });
  await lab.open();
  expect(lab.heard).toEqual([]);
  disk.files.delete("/data/wal/a/topic-id");
  const next = lab.restart();
  await next.open();
  expect(next.heard).toEqual(["quarantined: /data/wal/a /data/quarantine/a-unknown"]);
});

test("a dropped topic goes through the trash, also when it was not open", async () => {
  const lab = new LogLab();
  const partition = await lab.open();
  await lab.open({}, 0, topicB);
  await partition.append(batch(), client);
  await lab.partitions.drop(topicA.id);
  expect(lab.partitions.get("a", 0)).toBeUndefined();
  expect(lab.disk.logs.has(`/data/trash/${topicA.id}/0`)).toBe(true);
  expect((await partition.append(batch(), client)).errorCode).toBe(
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
  );
  const next = lab.restart();
  await next.partitions.drop(topicB.id);
  await next.partitions.emptyTrash();
  expect([...lab.disk.logs.keys()]).toEqual([]);
  expect([...lab.disk.files.keys()]).toEqual([]);
});

test("a topic deleted and made again starts empty under its new id", async () => {
  const lab = new LogLab();
  await (await lab.open()).append(batch(), client);
  await lab.partitions.drop(topicA.id);
  const fresh = await lab.open({}, 0, { ...topicA, id: topicB.id });
  expect(fresh.logEndOffset).toBe(0);
  expect(lab.heard).toEqual([]);
});

test("two openings of one partition give one partition", async () => {
  const lab = new LogLab();
  const [one, two] = await Promise.all([lab.open(), lab.open({}, 3)]);
  expect(one).toBe(two);
  expect(one.leaderEpoch).toBe(3);
});

test("topics deleted at the same time empty the trash without disturbing each other", async () => {
  const lab = new LogLab();
  await lab.open();
  await lab.open({}, 0, topicB);
  const removeDir = lab.files.removeDir.bind(lab.files);
  lab.files.removeDir = async (path) => {
    await turn();
    const isThere = [...lab.disk.files.keys()].some((file) => file.startsWith(`${path}/`));
    if (!isThere) throw new BrokerError("CHRONIK_NOT_FOUND", path);
    await removeDir(path);
  };
  const remove = async (id: string) => {
    await lab.partitions.drop(id);
    await lab.partitions.emptyTrash();
  };
  await Promise.all([remove(topicA.id), remove(topicB.id)]);
  expect([...lab.disk.files.keys()]).toEqual([]);
});
