import { expect, test } from "bun:test";
import { shareStates } from "../../src/broker-share.ts";
import { BrokerError } from "../../src/lib/errors.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { decodeRecord } from "../../src/share/records.ts";
import type { SharePartition } from "../../src/share/share-partition.ts";
import { batch, LogLab, topicA, topicB, turn } from "../support/log-lab.ts";
import { MemoryArchive } from "../support/memory-archive.ts";
import { DeadLetterWorld } from "./dead-letter-world.ts";
import { gzipBatch } from "./gzip-batch.ts";

const reject = 3;
const accept = 1;
const release = 2;
const headers = (offset: number, count: number, reason: string) =>
  `__dlq.errors.topic=a|__dlq.errors.partition=0|__dlq.errors.offset=${offset}|` +
  `__dlq.errors.group=g|__dlq.errors.delivery.count=${count}|__dlq.errors.message=${reason}`;
const topicA1 = { topicId: topicA.id, partition: 1 };
const rejected = "Offset rejected by client.";
const spent = "Offset delivery count exceeded the threshold.";

async function opened(records = 3, maxMessageBytes?: number) {
  const world = new DeadLetterWorld();
  await world.start(maxMessageBytes);
  const values = Array.from({ length: records }, (_, n) => `v${n}`);
  await world.source?.append(batch({ values }), { origin: "client" });
  return { world, share: await world.share() };
}

function say(share: SharePartition, first: number, last: number, type: number, member = "m") {
  const batches = [{ firstOffset: first, lastOffset: last, acknowledgeTypes: [type] }];
  return share.acknowledge(member, batches);
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let turns = 0; turns < 200; turns++) {
    if (await holds()) return;
    await turn();
  }
  throw new Error("it did not come to that");
}

async function settled(share: SharePartition): Promise<void> {
  await until(() => share.deadLetterCount === 0 && !share.isBusy);
}

/** What was written, in order: "start: first-last=state …". */
function written(world: DeadLetterWorld): string[] {
  const names: Record<number, string> = { 0: "free", 2: "done", 3: "archiving", 4: "archived" };
  return world.states.log.records.flatMap(({ key, value }) => {
    const record = decodeRecord(key, value);
    if (record.kind !== "update" || record.update.deliveryCompleteCount < 0) return [];
    const { startOffset, stateBatches } = record.update;
    const batches = stateBatches.map(
      (one) => `${one.firstOffset}-${one.lastOffset}=${names[one.deliveryState]}`,
    );
    return [[`${startOffset}:`, ...batches].join(" ")];
  });
}

test("a rejected record is copied with what Kafka tells of it, the others are not", async () => {
  const { world, share } = await opened();
  expect(world.take(share)).toBe("0-2:1");
  expect(await say(share, 0, 0, accept)).toBe(ErrorCode.NONE);
  expect(await say(share, 1, 1, reject)).toBe(ErrorCode.NONE);
  await settled(share);
  expect(await world.letters()).toEqual([`k=v1|${headers(1, 1, rejected)}`]);
  expect(written(world)).toEqual(["0: 0-0=done", "1: 1-1=archiving", "2:"]);
  expect(world.heard).toEqual(["copied 1 true"]);
});

test("a record that was delivered too often is copied when it is given back", async () => {
  const { world, share } = await opened(2);
  world.take(share);
  await say(share, 0, 1, release);
  expect(world.take(share)).toBe("0-1:2");
  await share.release("m");
  await settled(share);
  expect(await world.letters()).toEqual([
    `k=v0|${headers(0, 2, spent)}`,
    `k=v1|${headers(1, 2, spent)}`,
  ]);
});

test("and when its lock ends", async () => {
  const { world, share } = await opened(1);
  world.take(share);
  await say(share, 0, 0, release);
  world.take(share);
  world.lab.clock.advance(30_000);
  await until(async () => (await world.letters()).length === 1);
  await settled(share);
  expect(written(world)).toEqual(["0: 0-0=free", "0: 0-0=archiving", "1:"]);
  expect(world.heard).toEqual(["copied 1 false"]);
});

test("without copying, only where the record is", async () => {
  const { world, share } = await opened(1);
  world.configs.set("errors.deadletterqueue.copy.record.enable", "false");
  world.take(share);
  await say(share, 0, 0, reject);
  await settled(share);
  expect(await world.letters()).toEqual([`null=null|${headers(0, 1, rejected)}`]);
});

test("without a dead letter queue a rejected record is archived at once", async () => {
  const { world, share } = await opened(1);
  world.configs.delete("errors.deadletterqueue.topic.name");
  world.take(share);
  await say(share, 0, 0, reject);
  expect(share.deadLetterCount).toBe(0);
  expect(written(world)).toEqual(["0: 0-0=archived"]);
  expect(await world.letters()).toEqual([]);
});

test("what fails for the moment is tried again; only a copy archives", async () => {
  const { world, share } = await opened(1);
  const found = world.destination;
  world.destination = { kind: "failed", reason: "not open" };
  world.take(share);
  await say(share, 0, 0, reject);
  for (const delayMs of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    const before = world.heard.length + 1;
    await until(() => world.heard.length === before);
    world.lab.clock.advance(delayMs - 1);
    await turn();
    expect(world.heard).toHaveLength(before);
    world.lab.clock.advance(1);
  }
  await until(() => world.heard.length === 8);
  expect(share.deadLetterCount).toBe(1);
  expect(written(world)).toEqual(["0: 0-0=archiving"]);
  world.destination = found;
  world.lab.clock.advance(30_000);
  await settled(share);
  expect(await world.offsets()).toEqual([0]);
  expect(written(world)).toEqual(["0: 0-0=archiving", "1:"]);
});

test("what the queue can never take is archived without a copy, and told", async () => {
  const { world, share } = await opened(2);
  world.destination = { kind: "refused", reason: "not set up" };
  world.take(share);
  await say(share, 0, 1, reject);
  await settled(share);
  expect(world.heard).toEqual(["refused 2: not set up"]);
  expect(written(world)).toEqual(["0: 0-1=archiving", "2:"]);
});

test("archiving survives a crash: the copy is made by the next start", async () => {
  const { world, share } = await opened(3);
  world.destination = { kind: "failed", reason: "not open" };
  world.take(share);
  await say(share, 1, 1, reject);
  await until(() => world.heard.length > 0);
  const again = await world.restart();
  const loaded = await again.share();
  await until(async () => (await again.letters()).length === 1);
  expect(await again.letters()).toEqual([`k=v1|${headers(1, 1, rejected)}`]);
  await settled(loaded);
  expect(again.take(loaded)).toBe("0-0:1 2-2:1");
});

test("a crash behind the copy copies it once more, and loses nothing", async () => {
  const { world, share } = await opened(1);
  world.take(share);
  const saying = say(share, 0, 0, reject);
  await saying;
  world.states.log.isHeld = true;
  await until(async () => (await world.letters()).length === 1);
  world.states.log.isHeld = false;
  const again = await world.restart();
  const loaded = await again.share();
  await settled(loaded);
  expect(await again.offsets()).toEqual([0, 0]);
});

test("more than a batch of the queue takes goes into several, archived one by one", async () => {
  const { world, share } = await opened(10, 700);
  world.take(share);
  await say(share, 0, 9, reject);
  await settled(share);
  expect(await world.offsets()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(world.heard.length).toBeGreaterThan(3);
  expect(world.heard.every((line) => line.startsWith("copied"))).toBe(true);
});

test("a record that is too large for the queue is told of without its body", async () => {
  const { world } = await opened(1, 2_000);
  const values = ["x".repeat(5_000), "small"];
  await world.source?.append(batch({ values }), { origin: "client" });
  const share = await world.share();
  world.take(share);
  await say(share, 0, 2, reject);
  await settled(share);
  const letters = await world.letters();
  expect(letters.map((one) => one.split("|")[0])).toEqual(["k=v0", "null=null", "k=small"]);
});

test("one record that the queue will not take does not take others along", async () => {
  const { world } = await opened(1);
  const keys = ["a", null, "b"];
  await world.source?.append(batch({ values: ["x", "y", "z"], keys }), { origin: "client" });
  if (world.queue !== null) world.queue.config = { ...world.queue.config, compact: true };
  const share = await world.share();
  world.take(share);
  await say(share, 1, 3, reject);
  await settled(share);
  const letters = await world.letters();
  expect(letters.map((one) => one.split("|")[0])).toEqual(["a=x", "b=z"]);
  expect(world.heard).toEqual([
    "copied 1 true",
    expect.stringContaining("refused 1: b does not take them"),
    "copied 1 true",
  ]);
});

test("compressed batches are copied record by record", async () => {
  const { world } = await opened(1);
  await world.source?.append(gzipBatch(["a", "b", "c"]), { origin: "client" });
  const share = await world.share();
  world.take(share);
  await say(share, 2, 2, reject);
  await settled(share);
  expect((await world.letters())[0]).toStartWith("k=b|");
});

/** An archive of the source alone. */
class SourceArchive extends MemoryArchive {
  override archivedRange(topicId?: string) {
    return topicId === topicB.id ? null : super.archivedRange();
  }
}

test("records are copied out of archives when the WAL holds them no more", async () => {
  const archive = new SourceArchive();
  const lab = new LogLab({ cold: archive });
  const before = new DeadLetterWorld(lab);
  await before.start();
  const { source } = before;
  await source?.append(gzipBatch(["a", "b"]), { origin: "client" });
  await source?.append(batch({ values: ["c"] }), { origin: "client" });
  await source?.seal();
  if (source !== null) await archive.take(source, true);
  expect(source?.localStartOffset).toBe(3);
  const world = await before.restart();
  const share = await world.share();
  expect(world.take(share)).toBe("0-2:1");
  await say(share, 1, 2, reject);
  await settled(share);
  expect(archive.reads).toBeGreaterThan(0);
  const letters = await world.letters();
  expect(letters.map((one) => one.split("|")[0])).toEqual(["k=b", "k=c"]);
});

test("markers are no records, and what was deleted is not copied", async () => {
  const { world } = await opened(1);
  const { source } = world;
  const producer = { producerId: 5, producerEpoch: 0, baseSequence: 0, isTransactional: true };
  await source?.append(batch({ values: ["t"], ...producer }), { origin: "client" });
  const ids = { producerId: 5, producerEpoch: 0, coordinatorEpoch: 0 };
  await source?.appendMarker({ ...ids, commit: true, transactionVersion: 1 });
  const share = await world.share();
  world.take(share);
  world.destination = { kind: "failed", reason: "not open" };
  expect(await say(share, 0, 2, reject)).toBe(ErrorCode.NONE);
  await until(() => world.heard.length === 1);
  if (world.queue !== null) world.destination = { kind: "found", partition: world.queue };
  await source?.deleteRecordsBefore(1);
  world.lab.clock.advance(1_000);
  await settled(share);
  expect((await world.letters()).map((one) => one.split("|")[0])).toEqual(["k=t"]);
});

test("a share partition whose dead letters wait stays when its last reader leaves", async () => {
  const { world, share } = await opened(1);
  const found = world.destination;
  world.destination = { kind: "failed", reason: "not open" };
  world.take(share);
  await say(share, 0, 0, reject);
  await until(() => world.heard.length === 1);
  await world.groups.connectionClosed(1);
  expect(world.groups.openCount).toBe(1);
  world.destination = found;
  world.lab.clock.advance(1_000);
  await until(() => world.groups.openCount === 0);
  expect(await world.offsets()).toEqual([0]);
  expect(written(world)).toEqual(["0: 0-0=archiving", "1:"]);
});

test("what cannot be decompressed for the moment is copied later, with its body", async () => {
  const { world } = await opened(1);
  await world.source?.append(gzipBatch(["a"]), { origin: "client" });
  const share = await world.share();
  world.take(share);
  world.decompressError = new BrokerError("CHRONIK_BUSY", "the submission queue is full");
  await say(share, 1, 1, reject);
  await until(() => world.heard.length === 1);
  expect(world.heard).toEqual(["failed: the submission queue is full"]);
  world.decompressError = null;
  world.lab.clock.advance(1_000);
  await settled(share);
  expect((await world.letters()).map((one) => one.split("|")[0])).toEqual(["k=a"]);
});

test("one that never can be is told of without its bodies", async () => {
  const { world } = await opened(1);
  await world.source?.append(gzipBatch(["a"]), { origin: "client" });
  const share = await world.share();
  world.take(share);
  world.decompressError = new BrokerError("CHRONIK_BATCH_TOO_LARGE", "more than it may be");
  await say(share, 1, 1, reject);
  await settled(share);
  expect((await world.letters()).map((one) => one.split("|")[0])).toEqual(["null=null"]);
});

test("a stop in good order writes down what was copied: nothing is copied twice", async () => {
  const { world, share } = await opened(2);
  world.take(share);
  const held = Promise.withResolvers<void>();
  world.beforeFind = held.promise;
  await say(share, 0, 0, reject);
  await until(() => share.isBusy);
  let isClosed = false;
  const closing = world.groups.close().then(() => {
    isClosed = true;
  });
  await turn();
  expect(isClosed).toBe(false);
  held.resolve();
  await closing;
  expect(await world.offsets()).toEqual([0]);
  const again = await world.restart();
  const loaded = await again.share();
  await settled(loaded);
  expect(await again.offsets()).toEqual([0]);
  expect(again.take(loaded)).toBe("1-1:1");
});

test("a stop does not wait for the next attempt, and none begins after it", async () => {
  const { world, share } = await opened(1);
  const found = world.destination;
  world.destination = { kind: "failed", reason: "not open" };
  world.take(share);
  await say(share, 0, 0, reject);
  await until(() => world.heard.length === 1);
  world.destination = found;
  await world.groups.close();
  world.lab.clock.advance(60_000);
  await turn();
  expect(await world.offsets()).toEqual([]);
  const again = await world.restart();
  await settled(await again.share());
  expect(await again.offsets()).toEqual([0]);
});

test("of those that wait for their turn when the broker stops none begins", async () => {
  const world = new DeadLetterWorld();
  await world.start();
  const shares = await world.morePartitions(6);
  const held = Promise.withResolvers<void>();
  world.beforeFind = held.promise;
  for (const share of shares) {
    world.take(share);
    await say(share, 0, 0, reject);
  }
  await until(() => world.finds === 4);
  const closing = world.groups.close();
  held.resolve();
  await closing;
  expect(world.finds).toBe(4);
  expect(await world.offsets()).toHaveLength(4);
});

test("what an operator changes of one partition leaves the group's others at work", async () => {
  const { world, share } = await opened(1);
  const [other] = await world.morePartitions(1);
  world.take(share);
  const held = Promise.withResolvers<void>();
  world.beforeFind = held.promise;
  await say(share, 0, 0, reject);
  await until(() => share.isBusy);
  const states = shareStates(world.groups);
  await states.initialize("g", 2, [{ ...topicA1, startOffset: 0 }], true);
  expect([share.isOpen, other?.isOpen]).toEqual([true, false]);
  await world.share(1);
  await states.remove("g", [topicA1]);
  expect(share.isOpen).toBe(true);
  held.resolve();
  await settled(await world.share());
  expect(await world.offsets()).toEqual([0]);
});

test("that records were copied is written again until it succeeds", async () => {
  const { world, share } = await opened(1);
  world.take(share);
  const held = Promise.withResolvers<void>();
  world.beforeFind = held.promise;
  await say(share, 0, 0, reject);
  await until(() => world.finds === 1);
  world.states.log.errorCode = ErrorCode.KAFKA_STORAGE_ERROR;
  held.resolve();
  await until(() => world.states.problems.length === 1);
  await world.groups.connectionClosed(1);
  for (const delayMs of [1_000, 2_000]) {
    const before = world.states.problems.length;
    world.lab.clock.advance(delayMs);
    await until(() => world.states.problems.length > before);
  }
  world.states.log.errorCode = ErrorCode.NONE;
  world.lab.clock.advance(4_000);
  await until(() => world.groups.openCount === 0);
  expect(written(world)).toEqual(["0: 0-0=archiving", "1:"]);
  const again = await world.restart();
  await settled(await again.share());
  expect(await again.offsets()).toEqual([0]);
});

test.each(["at once", "by a restart"])(
  "where share.version falls to 1, %s, nothing stays",
  async (how) => {
    const { world, share } = await opened(2);
    world.destination = { kind: "failed", reason: "not open" };
    world.take(share);
    await say(share, 0, 0, reject);
    await until(() => world.heard.length === 1);
    world.servesDeadLetters = false;
    const after = how === "at once" ? world : await world.restart();
    after.servesDeadLetters = false;
    after.lab.clock.advance(1_000);
    const last = await after.share();
    await settled(last);
    expect(after.heard.at(-1)).toBe("refused 1: no queue");
    expect(written(after).at(-1)).toBe("1:");
    expect(await after.letters()).toEqual([]);
  },
);
