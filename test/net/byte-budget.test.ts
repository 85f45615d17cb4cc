import { expect, test } from "bun:test";
import { ByteBudget } from "../../src/net/byte-budget.ts";
import { FrameShare } from "../../src/net/frame-share.ts";

test("parked bytes stop nobody, and have a limit of their own", () => {
  const budget = new ByteBudget(100);
  expect(budget.park(100)).toBe(true);
  expect(budget.tryTake(100)).toBe(true);
  expect(budget.bytesUsed).toBe(200);
  expect(budget.park(1)).toBe(false);
  budget.unpark(40);
  expect(budget.park(40)).toBe(true);
});

test("where no more may be parked, a share stays as it is", () => {
  const budget = new ByteBudget(100);
  budget.park(95);
  const share = new FrameShare(budget, () => undefined);
  expect(share.reserve(50)).toBe(true);
  share.park(10);
  expect([share.isReserved, budget.bytesUsed]).toEqual([true, 145]);
  share.park(5);
  expect([share.isReserved, budget.bytesUsed]).toEqual([false, 100]);
  expect(share.reserve(50)).toBe(true);
  expect(budget.bytesUsed).toBe(145);
  share.drop();
  expect(budget.bytesUsed).toBe(95);
});

test("a parked share stands in line like any other, and is parked until it has room", async () => {
  const budget = new ByteBudget(100);
  let woken = 0;
  const share = new FrameShare(budget, () => woken++);
  share.reserve(60);
  share.park(20);
  budget.tryTake(80);
  expect([share.reserve(60), share.isInLine, budget.bytesUsed]).toEqual([false, true, 100]);
  budget.release(80);
  await Promise.resolve();
  expect([woken, share.isInLine]).toEqual([1, false]);
  expect([share.reserve(60), budget.bytesUsed]).toEqual([true, 60]);
  share.handOver();
  share.drop();
  expect(budget.bytesUsed).toBe(60);
});
