/** The WAL's cap: who is slowed, who waits, who is refused, and what passes. */
import { describe, expect, test } from "bun:test";
import { BrokerError } from "../../src/lib/errors.ts";
import { WalSpace } from "../../src/log/wal-space.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { isTransactional, parseBatchHeader } from "../../src/protocol/record-batch.ts";
import { batch, idempotent, LogLab, topicA, topicB, turn } from "../support/log-lab.ts";
import { pending, within } from "../support/moments.ts";

const kB = 1_000;

describe("the room itself", () => {
  function space(bytesMax = 1_000 * kB) {
    const heard: string[] = [];
    const made = new WalSpace({ bytesMax, heldBytesMax: 100 });
    made.listen({
      changed: (state) => heard.push(`${state} at ${made.bytes / kB}`),
      pressed: () => heard.push(`pressed at ${made.bytes / kB}`),
    });
    return { space: made, heard };
  }

  test("half is pressed, nine tenths are slowed, what does not fit makes it full", () => {
    const { space: room, heard } = space();
    room.added(500 * kB);
    expect(heard).toEqual([]);
    expect(room.isPressed).toBe(false);
    room.added(1 * kB);
    expect(heard).toEqual(["pressed at 501"]);
    room.added(60 * kB);
    room.added(2 * kB);
    expect(heard).toEqual(["pressed at 501"]);
    room.added(1 * kB);
    expect(heard.splice(0)).toEqual(["pressed at 501", "pressed at 564"]);
    room.added(186 * kB);
    expect([room.isStrained, room.throttleMs()]).toEqual([false, 0]);
    room.added(1 * kB);
    expect(room.isStrained).toBe(true);
    room.added(199 * kB);
    expect(heard.splice(0)).toEqual(["pressed at 750", "slowed at 950", "pressed at 950"]);
    expect(room.throttleMs()).toBe(500);
    expect(room.tryTake(50 * kB)).toBe(true);
    expect(room.throttleMs()).toBe(1_000);
    expect(room.tryTake(1)).toBe(false);
    expect(heard.splice(0)).toEqual(["full at 950"]);
    room.giveBack(50 * kB);
    expect(room.tryTake(1)).toBe(true);
    room.giveBack(1);
    expect(room.throttledMs).toBe(1_500);
  });

  test("a state ends well below where it began", () => {
    const { space: room, heard } = space();
    room.added(1_000 * kB);
    expect(room.tryTake(1)).toBe(false);
    room.added(-99 * kB);
    expect(room.state).toBe("full");
    room.added(-2 * kB);
    expect(room.state).toBe("slowed");
    room.added(-148 * kB);
    expect(room.state).toBe("slowed");
    room.added(-2 * kB);
    expect(room.state).toBe("open");
    expect(heard.filter((line) => !line.startsWith("pressed"))).toEqual([
      "slowed at 1000",
      "full at 1000",
      "slowed at 899",
      "open at 749",
    ]);
  });

  test("without a cap nothing is ever held back, and the bytes are still told", () => {
    const { space: room, heard } = space(0);
    room.added(10 ** 15);
    expect(room.tryTake(10 ** 12)).toBe(true);
    expect([room.bytes, room.throttleMs(), room.isPressed]).toEqual([10 ** 15, 0, false]);
    expect(heard).toEqual([]);
  });

  test("a batch larger than the cap passes when the WAL is empty, and only then", () => {
    const { space: room } = space(10);
    expect(room.tryTake(11)).toBe(true);
    room.giveBack(11);
    room.added(1);
    expect(room.tryTake(11)).toBe(false);
  });

  test("a batch waits for less than its client does", () => {
    const { space: room } = space();
    expect([30_000, 1_000, 0, -5].map((timeoutMs) => room.holdMs(timeoutMs))).toEqual([
      10_000, 500, 0, 0,
    ]);
  });
});

/** One record of `bytes` with its frame header, about. */
const sized = (bytes: number) => batch({ values: ["x".repeat(bytes)] });

describe("a partition under the cap", () => {
  const limits = { walBytesMax: 10 * kB };

  async function filled() {
    const lab = new LogLab({ limits });
    const partition = await lab.open();
    const fill = await partition.append(sized(9_500), { origin: "client" });
    expect(fill.errorCode).toBe(0);
    return { lab, partition, space: lab.partitions.walSpace };
  }

  /** As after archiving: what is sealed goes. */
  async function makeRoom({ partition }: Awaited<ReturnType<typeof filled>>) {
    await partition.seal();
    await partition.checkpoint(partition.logEndOffset);
    const sealed = partition.segments().filter((segment) => segment.sealed);
    await partition.releaseSegments(sealed.map(({ id }) => id));
  }

  test("what finds no room waits for it, in order, and is appended when it comes", async () => {
    const world = await filled();
    const { partition, space } = world;
    const waiting = [1, 2, 3].map((n) =>
      partition.append(idempotent(7, 0, n - 1), { origin: "client" }),
    );
    const large = partition.append(sized(5_000), { origin: "client" });
    await turn();
    const first = waiting[0] as Promise<unknown>;
    // Small ones still fit; the large one is what waits.
    expect(await within(5, first)).not.toBe(pending);
    expect(await within(5, large)).toBe(pending);
    const behind = partition.append(idempotent(7, 0, 3), { origin: "client" });
    expect(await within(5, behind)).toBe(pending);
    expect(space.bytesHeld).toBeGreaterThan(5_000);
    await makeRoom(world);
    const offsets = await Promise.all([large, behind]);
    expect(offsets.map(({ errorCode, baseOffset }) => [errorCode, baseOffset])).toEqual([
      [0, 4],
      [0, 5],
    ]);
    expect([space.bytesHeld, space.refusedCount]).toEqual([0, 0]);
  });

  test("refused together when no room comes, without their sequences being used", async () => {
    const world = await filled();
    const { lab, partition, space } = world;
    const big = (sequence: number) =>
      batch({
        values: ["y".repeat(3_000)],
        producerId: 7,
        producerEpoch: 0,
        baseSequence: sequence,
      });
    const sent = [0, 1, 2].map((n) =>
      partition.append(big(n), { origin: "client", timeoutMs: 8_000 }),
    );
    lab.clock.advance(3_999);
    expect(await within(5, Promise.race(sent))).toBe(pending);
    lab.clock.advance(1);
    const answers = await Promise.all(sent);
    for (const { errorCode, errorMessage, baseOffset } of answers) {
      expect([errorCode, baseOffset]).toEqual([ErrorCode.NOT_ENOUGH_REPLICAS, -1]);
      expect(errorMessage).toContain("wal.max_bytes (10000)");
    }
    expect([space.bytesHeld, space.refusedCount]).toEqual([0, 3]);
    expect(lab.clock.pendingTimers).toBe(1); // The expiration of producer ids.
    await makeRoom(world);
    const again = await Promise.all(
      [0, 1, 2].map((n) => partition.append(big(n), { origin: "client" })),
    );
    expect(again.map(({ errorCode, baseOffset }) => [errorCode, baseOffset])).toEqual([
      [0, 1],
      [0, 2],
      [0, 3],
    ]);
  });

  test("what a failed append had booked is room for who waits", async () => {
    const lab = new LogLab({ limits, auto: false });
    const [partition, other] = [await lab.open(), await lab.open({}, 0, topicB)];
    lab.wal.failWhen = () => new BrokerError("CHRONIK_IO", "disk full");
    const failing = partition.append(sized(9_500), { origin: "client" });
    const waiting = other.append(sized(5_000), { origin: "client" });
    await turn();
    expect(lab.wal.submitted).toBe(1);
    lab.wal.complete(1);
    expect((await failing).errorCode).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
    lab.wal.failWhen = () => null;
    lab.wal.complete();
    expect((await waiting).errorCode).toBe(0);
    expect(lab.partitions.walSpace.bytesHeld).toBe(0);
  });

  test("a retry of what is stored is answered though the WAL is full", async () => {
    const lab = new LogLab({ limits });
    const partition = await lab.open();
    const first = await partition.append(idempotent(7, 0, 0), { origin: "client" });
    await partition.append(sized(9_500), { origin: "client" });
    const other = partition.append(sized(2_000), { origin: "client" });
    expect(await within(5, other)).toBe(pending);
    lab.clock.advance(10_000);
    expect((await other).errorCode).toBe(ErrorCode.NOT_ENOUGH_REPLICAS);
    expect(lab.partitions.walSpace.state).toBe("full");
    const retry = await partition.append(idempotent(7, 0, 0), { origin: "client" });
    expect([retry.errorCode, retry.baseOffset]).toEqual([0, first.baseOffset]);
  });

  test("the end of a transaction passes what waits for room", async () => {
    const lab = new LogLab({ limits });
    const partition = await lab.open();
    const inTransaction = batch({
      ...{ producerId: 7, producerEpoch: 0, baseSequence: 0, isTransactional: true },
      values: ["t"],
    });
    const header = parseBatchHeader(inTransaction);
    expect(typeof header === "object" && isTransactional(header.attributes)).toBe(true);
    expect((await partition.append(inTransaction, { origin: "client" })).errorCode).toBe(0);
    expect((await partition.append(sized(9_500), { origin: "client" })).errorCode).toBe(0);
    const waiting = partition.append(sized(2_000), { origin: "client" });
    expect(await within(5, waiting)).toBe(pending);
    expect(partition.lastStableOffset).toBe(0);
    const marker = {
      ...{ producerId: 7, producerEpoch: 0, coordinatorEpoch: 0, commit: true },
      transactionVersion: 0,
    } as const;
    expect((await partition.appendMarker(marker)).errorCode).toBe(0);
    expect(partition.lastStableOffset).toBe(partition.logEndOffset);
    expect(await within(5, waiting)).toBe(pending);
    await lab.partitions.close();
    expect((await waiting).errorCode).toBe(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    expect(lab.partitions.walSpace.bytesHeld).toBe(0);
  });

  test("more than may wait is refused at once, what waited before it too", async () => {
    const lab = new LogLab({ limits: { ...limits, appendBytesInFlightMax: 8 * kB } });
    const partition = await lab.open();
    for (const bytes of [4_500, 4_500]) {
      expect((await partition.append(sized(bytes), { origin: "client" })).errorCode).toBe(0);
    }
    const first = partition.append(sized(3_000), { origin: "client" });
    expect(await within(5, first)).toBe(pending);
    const second = partition.append(sized(3_000), { origin: "client" });
    const answers = await Promise.all([first, second]);
    const { NOT_ENOUGH_REPLICAS } = ErrorCode;
    expect(answers.map(({ errorCode }) => errorCode)).toEqual([
      NOT_ENOUGH_REPLICAS,
      NOT_ENOUGH_REPLICAS,
    ]);
    expect(lab.partitions.walSpace.bytesHeld).toBe(0);
  });

  test("internal topics neither count nor wait", async () => {
    const { lab, space } = await filled();
    const before = space.bytes;
    const internal = await lab.open({}, 0, { ...topicB, internal: true });
    for (let n = 0; n < 3; n++) {
      const answer = await internal.append(sized(5_000), { origin: "coordinator" });
      expect(answer.errorCode).toBe(0);
    }
    expect(space.bytes).toBe(before);
  });

  test("a deleted topic's segments make room, and a start counts what it finds", async () => {
    const world = await filled();
    const { lab, space } = world;
    const other = await lab.open({}, 0, topicB);
    const waiting = other.append(sized(3_000), { origin: "client" });
    expect(await within(5, waiting)).toBe(pending);
    await lab.partitions.drop(topicA.id);
    expect((await waiting).errorCode).toBe(0);
    expect(space.bytes).toBeLessThan(4_000);
    const next = lab.restart();
    await next.open({}, 0, topicB);
    expect(next.partitions.walSpace.bytes).toBe(space.bytes);
  });
});
