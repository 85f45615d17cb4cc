import { expect, test } from "bun:test";
import { Lane, type Portions, runSome, TurnBudget } from "../../src/lib/turn-budget.ts";
import { FakeClock } from "../support/fake-clock.ts";

/** A clock that work moves on, as real work does. */
class WorkClock extends FakeClock {
  private workedMs = 0;

  work(ms: number): void {
    this.workedMs += ms;
  }

  override monotonicMs(): number {
    return super.monotonicMs() + this.workedMs;
  }
}

function world() {
  const clock = new WorkClock();
  const done: string[] = [];
  const turns = new TurnBudget(clock, 5);
  const task = (name: string, ms: number) => () => {
    clock.work(ms);
    done.push(name);
  };
  function* portions(name: string, count: number, ms: number): Generator<void, string> {
    for (let index = 0; index < count; index++) {
      clock.work(ms);
      done.push(`${name}${index}`);
      yield;
    }
    return name;
  }
  return { clock, done, turns, task, portions };
}

test("work runs at once until the turn's time is used up; the rest keeps its order", () => {
  const { clock, done, turns, task } = world();
  for (const name of ["a", "b", "c", "d", "e"]) turns.run(task(name, 3));
  expect(done).toEqual(["a", "b"]);
  turns.run(task("f", 0));
  expect(done).toEqual(["a", "b"]);
  clock.advance(0);
  expect(done).toEqual(["a", "b", "c", "d", "e", "f"]);
  expect(clock.pendingTimers).toBe(0);
});

test("a turn takes no more than its time", () => {
  const clock = new WorkClock();
  const turns = new TurnBudget(clock, 5);
  const perTurn: number[] = [];
  let count = 0;
  for (let index = 0; index < 10; index++) {
    turns.defer(() => {
      clock.work(2);
      count++;
    });
  }
  const tasks = new Map<number, () => void>();
  clock.schedule = (_, task) => {
    tasks.set(tasks.size, task);
    return { cancel: () => undefined };
  };
  for (let turn = 0; count < 10; turn++) {
    const before = count;
    if (turn === 0) clock.advance(0);
    else tasks.get(turn - 1)?.();
    perTurn.push(count - before);
  }
  expect(perTurn).toEqual([3, 3, 3, 1]);
});

test("what a task throws reaches its caller and stops nobody else", () => {
  const { clock, done, turns, task } = world();
  expect(() =>
    turns.run(() => {
      throw new Error("broken");
    }),
  ).toThrow("broken");
  expect(turns.isSpent).toBe(false);
  turns.run(task("a", 1));
  expect(done).toEqual(["a"]);
  expect(clock.pendingTimers).toBe(0);
});

test("computations run one after the other, a turn's time at a time, with others between", () => {
  const { clock, done, turns, task, portions } = world();
  const lane = new Lane(turns);
  const results: string[] = [];
  lane.run(portions("x", 4, 3), (name) => results.push(name));
  lane.run(portions("y", 1, 1), (name) => results.push(name));
  turns.run(task("t", 1));
  expect(done).toEqual(["x0", "x1"]);
  expect(lane.size).toBe(2);
  clock.advance(5);
  expect(done).toEqual(["x0", "x1", "x2", "x3", "t", "y0"]);
  expect(results).toEqual(["x", "y"]);
  expect(lane.size).toBe(0);
});

test("a short computation is over at once, and one that throws leaves the line", () => {
  const { turns, portions } = world();
  const lane = new Lane(turns);
  const results: string[] = [];
  function* broken(): Generator<void, never> {
    yield;
    throw new Error("broken");
  }
  expect(() => lane.run(broken(), () => undefined)).toThrow("broken");
  lane.run(portions("x", 1, 0), (name) => results.push(name));
  expect(results).toEqual(["x"]);
});

test("a few portions, or null and go on later", () => {
  const { portions } = world();
  const all: Portions<string> = portions("x", 3, 0);
  expect(runSome(all, 3)).toBeNull();
  expect(runSome(all, 1)).toEqual({ result: "x" });
});
