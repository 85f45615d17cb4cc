import { describe, expect, test } from "bun:test";
import { ColdPace, type ColdTurn } from "../../src/log/cold-pace.ts";
import { FakeClock } from "../support/fake-clock.ts";

const mebibyte = 1 << 20;

function paceOf(percent = 10) {
  const clock = new FakeClock();
  const pace = new ColdPace(clock, percent);
  const begun: string[] = [];
  const take = (name: string, bytes = mebibyte): ColdTurn => {
    const turn = pace.turn(bytes);
    if (turn.wait === null) begun.push(name);
    else void turn.wait.promise.then(() => begun.push(name));
    return turn;
  };
  const advance = async (ms: number) => {
    clock.advance(ms);
    await Promise.resolve();
    await Promise.resolve();
  };
  return { clock, pace, begun, take, advance };
}

describe("readers of archives", () => {
  test("wait for nobody while no other reads the end of a log", () => {
    const { pace, begun, take } = paceOf();
    for (const name of ["a", "b", "c"]) take(name);
    expect(begun).toEqual(["a", "b", "c"]);
    expect(pace.wrote(mebibyte, 1)).toBe(0);
    expect(pace.held).toEqual({ count: 0, ms: 0 });
  });

  test("come in turn beside them, a tenth of the time in all", async () => {
    const { pace, begun, take, advance } = paceOf();
    pace.tailRead();
    for (const name of ["a", "b", "c"]) take(name);
    expect(begun).toEqual(["a"]);
    // A mebibyte counts as a millisecond until measured: ten until the next.
    await advance(9);
    expect(begun).toEqual(["a"]);
    await advance(1);
    expect(begun).toEqual(["a", "b"]);
    await advance(10);
    expect(begun).toEqual(["a", "b", "c"]);
    expect(pace.held).toEqual({ count: 2, ms: 30 });
  });

  test("pause behind each write, so that a tenth of the time is theirs", () => {
    const { pace } = paceOf();
    pace.tailRead();
    expect(pace.wrote(mebibyte, 1)).toBeCloseTo(9, 10);
    expect(pace.wrote(mebibyte / 8, 1 / 8)).toBeCloseTo(9 / 8, 10);
  });

  test("go by what writes took, and no single one tells much", () => {
    const { pace } = paceOf();
    pace.tailRead();
    for (let count = 0; count < 200; count++) pace.wrote(mebibyte, 1_000);
    expect(pace.wrote(mebibyte, 1_000)).toBeCloseTo(9, 1);
    expect(pace.wrote(mebibyte, 0.5)).toBeWithin(8.5, 9);
    for (let count = 0; count < 200; count++) pace.wrote(mebibyte, 0.5);
    expect(pace.wrote(mebibyte, 0.5)).toBeCloseTo(0.5 * 9, 1);
    // What a call costs says little of its bytes.
    for (let count = 0; count < 200; count++) pace.wrote(100, 1);
    expect(pace.wrote(mebibyte, 0.5)).toBeCloseTo(0.5 * 9, 1);
  });

  test("give back what they did not read", async () => {
    const { pace, begun, take, advance } = paceOf();
    pace.tailRead();
    const first = take("a", 4 * mebibyte);
    take("b");
    first.end(mebibyte);
    await advance(9);
    expect(begun).toEqual(["a"]);
    await advance(1);
    expect(begun).toEqual(["a", "b"]);
    await advance(10);
    take("c", 100 * mebibyte).end(0);
    take("d");
    expect(begun).toEqual(["a", "b", "c", "d"]);
  });

  test("are charged for a batch that is larger than what they asked for", async () => {
    const { pace, begun, take, advance } = paceOf();
    pace.tailRead();
    take("a", 1).end(mebibyte);
    take("b");
    await advance(9);
    expect(begun).toEqual(["a"]);
    await advance(1);
    expect(begun).toEqual(["a", "b"]);
  });

  test("leave the line when they are tired of it", async () => {
    const { pace, begun, take, advance } = paceOf();
    pace.tailRead();
    take("a");
    const tired = take("b");
    take("c");
    await advance(4);
    tired.end(0);
    await advance(6);
    expect(begun).toEqual(["a", "c"]);
    expect(pace.held).toEqual({ count: 2, ms: 14 });
  });

  test("all go on once nobody read the end of a log for a second", async () => {
    const { pace, begun, take, advance } = paceOf(1);
    pace.tailRead();
    for (let index = 0; index < 20; index++) take(String(index));
    await advance(999);
    expect(begun.length).toBe(10);
    await advance(101);
    expect(begun.length).toBe(20);
  });

  test("are never held at 100 percent", () => {
    const { pace, begun, take } = paceOf(100);
    pace.tailRead();
    for (const name of ["a", "b"]) take(name);
    expect(begun).toEqual(["a", "b"]);
    expect(pace.wrote(mebibyte, 1)).toBe(0);
  });
});
