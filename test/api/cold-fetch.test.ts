/** What a store that stalls does to fetches: it delays what lies there, nothing else for long. */

import { describe, expect, test } from "bun:test";
import { fetchHandler } from "../../src/api/01-fetch.ts";
import { BrokerError } from "../../src/lib/errors.ts";
import type { ArchivedAbort, ColdReader } from "../../src/log/ports.ts";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { batchesIn } from "../../src/protocol/record-batch.ts";
import { ApiLab } from "../support/api-lab.ts";
import { batch, topicA, turn } from "../support/log-lab.ts";
import { MemoryArchive } from "../support/memory-archive.ts";

const client = { origin: "client" } as const;

/** The archives of partition 0; while `gate` is there its reads wait for it. */
class SlowArchive extends MemoryArchive implements ColdReader {
  gate: Promise<void> | null = null;
  abortsGate: Promise<void> | null = null;

  override archivedRange(_id = "", index = 0) {
    return index === 0 ? super.archivedRange() : null;
  }

  override async read(id: string, index: number, offset: number, max: number, limit: number) {
    await this.gate;
    return super.read(id, index, offset, max, limit);
  }

  override async abortedTransactions(
    id: string,
    index: number,
    from: number,
    to: number,
  ): Promise<ArchivedAbort[]> {
    await this.abortsGate;
    return super.abortedTransactions(id, index, from, to);
  }
}

/** Partition 0 is archived and released, partition 1 in the WAL. */
async function lab(tailCacheBytesMax = 0) {
  const cold = new SlowArchive();
  const api = new ApiLab({ cold, limits: { tailCacheBytesMax, coldPercentBesideTails: 10 } });
  const [archived, local] = await api.open();
  for (const partition of [archived, local]) await partition.append(batch(), client);
  await archived.seal();
  await cold.take(archived, true);
  return { api, cold };
}

function ask(api: ApiLab, rest: { maxWaitMs?: number; isolationLevel?: number; only?: number }) {
  const partitions = [0, 1]
    .filter((index) => rest.only === undefined || rest.only === index)
    .map((partition) => ({ partition, fetchOffset: 0, partitionMaxBytes: 1 << 20 }));
  const { maxWaitMs = 100, isolationLevel = 0 } = rest;
  const request = { maxWaitMs, minBytes: 1, isolationLevel };
  const topics = [{ topic: topicA.name, partitions }];
  return api
    .call(fetchHandler, { ...request, topics }, 12)
    .then((response) =>
      (response?.responses ?? [])
        .flatMap((one) => one.partitions)
        .map(({ errorCode, records }) => [
          errorCode,
          [...batchesIn(records ?? new Uint8Array(0))].map(({ header }) => header.baseOffset),
        ]),
    );
}

/** Lets time pass until the answer is there; how much it took. */
async function timeOf(api: ApiLab, answer: Promise<unknown>): Promise<number> {
  const startMs = api.log.clock.monotonicMs();
  let settled = false;
  const end = () => {
    settled = true;
  };
  answer.then(end, end);
  for (let i = 0; i < 20; i++) await turn();
  while (!settled && api.log.clock.monotonicMs() - startMs < 60_000) {
    api.log.clock.advance(1);
    for (let i = 0; i < 5; i++) await turn();
  }
  return api.log.clock.monotonicMs() - startMs;
}

for (const [maxWaitMs, waitedMs] of [
  [0, 500],
  [100, 500],
  [2_000, 2_000],
] as const) {
  test(`a stalled store holds up a fetch of max wait ${maxWaitMs} for ${waitedMs} ms`, async () => {
    const { api, cold } = await lab();
    const timers = api.log.clock.pendingTimers;
    const { promise, resolve } = Promise.withResolvers<void>();
    cold.gate = promise;
    const answer = ask(api, { maxWaitMs });
    expect(await timeOf(api, answer)).toBeWithin(waitedMs, waitedMs + 20);
    // What is elsewhere is there, what is not is no error.
    expect(await answer).toEqual([
      [0, []],
      [0, [0]],
    ]);
    resolve();
    const next = ask(api, { maxWaitMs });
    expect(await timeOf(api, next)).toBe(0);
    expect(await next).toEqual([
      [0, [0]],
      [0, [0]],
    ]);
    expect(api.log.clock.pendingTimers).toBe(timers);
  });
}

test("who waits for archives keeps no room that others could read in", async () => {
  const { api, cold } = await lab();
  const { readBudget } = api.services.partitions;
  const { promise, resolve } = Promise.withResolvers<void>();
  cold.gate = promise;
  const answer = ask(api, {});
  for (let i = 0; i < 5; i++) await turn();
  // Of the 50 MiB it may answer, what it may get of the partition it waits for.
  expect(readBudget.bytes).toBe(1 << 20);
  resolve();
  expect(await answer).toEqual([
    [0, [0]],
    [0, [0]],
  ]);
  expect(readBudget.bytes).toBe(0);
});

test("a fetch of what is not archived does not wait for the store", async () => {
  const { api, cold } = await lab();
  cold.gate = new Promise(() => undefined);
  const answer = ask(api, { only: 1 });
  expect(await timeOf(api, answer)).toBe(0);
  expect(await answer).toEqual([[0, [0]]]);
});

test("read_committed waits no longer for the names of aborted transactions", async () => {
  const { api, cold } = await lab();
  const { promise, resolve } = Promise.withResolvers<void>();
  cold.abortsGate = promise;
  const answer = ask(api, { isolationLevel: 1 });
  expect(await timeOf(api, answer)).toBeWithin(500, 520);
  expect(await answer).toEqual([
    [0, []],
    [0, [0]],
  ]);
  resolve();
  expect(await ask(api, { isolationLevel: 1 })).toEqual([
    [0, [0]],
    [0, [0]],
  ]);
});

test("a failure in time is an error, one that comes later is told to the operator", async () => {
  const { api, cold } = await lab();
  const failure = new BrokerError("CHRONIK_STORE_UNAVAILABLE", "503");
  cold.gate = Promise.reject(failure);
  expect(await ask(api, { only: 0 })).toEqual([[ErrorCode.KAFKA_STORAGE_ERROR, []]]);
  const { promise, reject } = Promise.withResolvers<void>();
  cold.gate = promise;
  const answer = ask(api, { only: 0 });
  await timeOf(api, answer);
  expect(await answer).toEqual([[0, []]]);
  const before = api.log.heard.length;
  reject(failure);
  for (let i = 0; i < 5; i++) await turn();
  expect(api.log.heard.slice(before)).toEqual(["unreadable: 0 CHRONIK_STORE_UNAVAILABLE"]);
});

describe("beside readers of new records", () => {
  const mebibyte = 1 << 20;

  /** Somebody else was given so many milliseconds of the archives' time, a tenth of all. */
  async function pacedLab(givenMs: number) {
    const { api } = await lab();
    const { coldPace } = api.services.partitions;
    coldPace.tailRead();
    coldPace.turn((givenMs / 10) * mebibyte);
    return { api, coldPace };
  }

  test("who reads archives waits for a turn, and the answer gives way", async () => {
    const { api, coldPace } = await pacedLab(200);
    const answer = ask(api, { only: 0 });
    expect(await timeOf(api, answer)).toBeWithin(200, 210);
    expect(await answer).toEqual([[0, [0]]]);
    expect([api.waysGiven, coldPace.held.count]).toEqual([1, 1]);
  });

  test("who reads no archives does neither", async () => {
    const { api, coldPace } = await pacedLab(200);
    const answer = ask(api, { only: 1 });
    expect(await timeOf(api, answer)).toBe(0);
    expect([api.waysGiven, coldPace.held.count]).toEqual([0, 0]);
  });

  test("who has no patience left gets the rest, and leaves the line", async () => {
    const { api, coldPace } = await pacedLab(700);
    const timers = api.log.clock.pendingTimers;
    const answer = ask(api, {});
    expect(await timeOf(api, answer)).toBeWithin(500, 520);
    expect(await answer).toEqual([
      [0, []],
      [0, [0]],
    ]);
    expect(api.waysGiven).toBe(0);
    coldPace.tailRead();
    expect(coldPace.turn(1).wait).not.toBeNull();
    expect(api.log.clock.pendingTimers).toBe(timers + 1);
    api.log.clock.advance(2_000);
    expect(await ask(api, { only: 0 })).toEqual([[0, [0]]]);
    expect(api.log.clock.pendingTimers).toBe(timers);
  });

  test("what is read from memory counts as new", async () => {
    const { api } = await lab(mebibyte);
    const { coldPace } = api.services.partitions;
    const turns = () => [coldPace.turn(mebibyte).wait, coldPace.turn(mebibyte).wait];
    // The broker read it, too, for the archive.
    expect(turns()).toEqual([null, null]);
    expect(await ask(api, { only: 1 })).toEqual([[0, [0]]]);
    expect(turns()).toEqual([null, expect.anything()]);
  });
});
