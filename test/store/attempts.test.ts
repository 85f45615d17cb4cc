import { describe, expect, test } from "bun:test";
import { deferred } from "../../src/lib/deferred.ts";
import { Attempts, AttemptTimeout, type Failure, RetryBudget } from "../../src/store/attempts.ts";
import { FakeClock } from "../support/fake-clock.ts";

class Passing extends Error {}

function classify(error: unknown): Failure {
  const passing = error instanceof Passing || error instanceof AttemptTimeout;
  const text = error instanceof Error ? error.message : "";
  return { kind: passing ? "unavailable" : "denied", text, hint: "do this", passing };
}

function lab(changes: { concurrencyMax?: number; tokens?: number; random?: () => number } = {}) {
  const clock = new FakeClock();
  const retries = new RetryBudget(clock, changes.tokens ?? 100);
  const attempts = new Attempts({
    clock,
    random: changes.random ?? (() => 0.5),
    concurrencyMax: changes.concurrencyMax ?? 2,
    attemptMs: 1_000,
    budgetMs: 10_000,
    retries,
    classify,
  });
  return { clock, attempts, retries };
}

const operation = { key: "k", verb: "read from s3://b", bytes: 0 };

/** Turns of the loop, until promises have run as far as they can. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

describe("retries", () => {
  test("back off, longer each time, with jitter, and end with the count and the time", async () => {
    const { clock, attempts } = lab();
    const startsMs: number[] = [];
    const run = attempts
      .run(operation, () => {
        startsMs.push(clock.monotonicMs());
        return Promise.reject(new Passing("503"));
      })
      .catch((error: unknown) => String(error));
    for (let step = 0; step < 200; step++) {
      await settle();
      clock.advance(50);
    }
    const text = await run;
    const gaps = startsMs.slice(1).map((at, index) => at - (startsMs[index] ?? 0));
    // Half of 200, 400, …, at most 5000 milliseconds; steps of 50.
    expect(gaps).toEqual([100, 200, 400, 800, 1600, 2500, 2500]);
    expect(text).toContain('object "k": cannot be read from s3://b: 503 (8 attempts in 8.1 s)');
    expect(text).toContain("; do this");
  });

  test("none for what lasts", async () => {
    const { attempts, clock } = lab();
    let count = 0;
    const run = attempts.run(operation, () => {
      count++;
      return Promise.reject(new Error("403"));
    });
    await expect(run).rejects.toMatchObject({ kind: "denied", key: "k" });
    expect(count).toBe(1);
    expect(clock.pendingTimers).toBe(0);
  });

  test("none that would begin past the operation's time", async () => {
    const { clock, attempts } = lab({ random: () => 1 });
    let count = 0;
    const run = attempts
      .run({ ...operation, bytes: 100 << 20 }, (signal) => {
        count++;
        const { promise, reject } = deferred<never>();
        signal.addEventListener("abort", () => reject(signal.reason));
        return promise;
      })
      .catch((error: unknown) => String(error));
    await settle();
    clock.advance(10_000);
    await settle();
    expect(await run).toContain("no answer within 10000 ms");
    expect(count).toBe(1);
  });

  test("share a budget that fills again with time and success", async () => {
    const { clock, attempts } = lab({ tokens: 2, random: () => 0 });
    let count = 0;
    const fail = () => {
      count++;
      return Promise.reject(new Passing("500"));
    };
    const failing = async () => {
      const run = attempts.run(operation, fail).catch(() => "failed");
      for (let turn = 0; turn < 20; turn++) {
        await settle();
        clock.advance(0);
      }
      expect(await run).toBe("failed");
    };
    await failing();
    expect(count).toBe(3);
    await failing();
    expect(count).toBe(4);
    clock.advance(1_000);
    await failing();
    expect(count).toBe(6);
    for (let i = 0; i < 11; i++) await attempts.run(operation, () => Promise.resolve(1));
    await failing();
    expect(count).toBe(8);
  });
});

describe("time", () => {
  test("a silent attempt is given up by its signal, and the next may succeed", async () => {
    const { clock, attempts } = lab();
    const reasons: unknown[] = [];
    let count = 0;
    const run = attempts.run(operation, (signal) => {
      count++;
      if (count === 2) return Promise.resolve("answer");
      signal.addEventListener("abort", () => reasons.push(signal.reason));
      // It does not even heed the signal.
      return deferred<string>().promise;
    });
    await settle();
    clock.advance(999);
    await settle();
    expect(reasons).toEqual([]);
    clock.advance(1);
    await settle();
    clock.advance(100);
    expect(await run).toBe("answer");
    expect(reasons[0]).toBeInstanceOf(AttemptTimeout);
    expect(clock.pendingTimers).toBe(0);
  });

  test("larger bodies get a second for each MiB", async () => {
    const { clock, attempts } = lab();
    const answer = deferred<string>();
    const run = attempts.run({ ...operation, bytes: 5 << 20 }, () => answer.promise);
    await settle();
    clock.advance(5_900);
    answer.resolve("late but fine");
    expect(await run).toBe("late but fine");
  });
});

describe("concurrency", () => {
  test("only so many at a time, in order, and a failed one makes room", async () => {
    const { clock, attempts } = lab({ concurrencyMax: 2 });
    const begun: number[] = [];
    const ends = Array.from({ length: 5 }, () => deferred<number>());
    const runs = ends.map((end, index) =>
      attempts
        .run(operation, () => {
          begun.push(index);
          return end.promise;
        })
        .catch(() => -1),
    );
    await settle();
    expect(begun).toEqual([0, 1]);
    ends[1]?.reject(new Error("403"));
    await settle();
    expect(begun).toEqual([0, 1, 2]);
    ends[0]?.resolve(0);
    ends[2]?.resolve(2);
    await settle();
    expect(begun).toEqual([0, 1, 2, 3, 4]);
    ends[3]?.resolve(3);
    ends[4]?.resolve(4);
    expect(await Promise.all(runs)).toEqual([0, -1, 2, 3, 4]);
    expect(clock.pendingTimers).toBe(0);
  });

  test("who waits for a slot beyond its time gives up, and takes none", async () => {
    const { clock, attempts } = lab({ concurrencyMax: 1 });
    const first = deferred<string>();
    // Long enough to outlast the second's patience.
    const running = attempts.run({ ...operation, bytes: 1 << 30 }, () => first.promise);
    running.catch(() => undefined);
    clock.advance(5_000);
    let begun = false;
    const waiting = attempts
      .run(operation, () => {
        begun = true;
        return Promise.resolve("never");
      })
      .catch((error: unknown) => String(error));
    await settle();
    clock.advance(4_000);
    first.resolve("done");
    expect(await running).toBe("done");
    expect(await waiting).toBe("never");
    expect(begun).toBe(true);
    const blocker = deferred<string>();
    const long = attempts.run({ ...operation, bytes: 1 << 30 }, () => blocker.promise);
    long.catch(() => undefined);
    const late = attempts.run(operation, () => Promise.resolve("x")).catch(String);
    await settle();
    clock.advance(10_000);
    await settle();
    expect(await late).toContain("no answer within 10000 ms");
    expect(await attempts.run(operation, () => Promise.resolve("free"))).toBe("free");
  });
});

describe("the stop of a broker", () => {
  test("goes on asking a store that answers, once each", async () => {
    const { attempts } = lab();
    attempts.stop();
    let count = 0;
    const failing = () => {
      count++;
      return Promise.reject(new Passing("503"));
    };
    await expect(attempts.run(operation, failing)).rejects.toThrow("503");
    expect(count).toBe(1);
    expect(await attempts.run(operation, () => Promise.resolve("there"))).toBe("there");
  });

  test("waits once for a store that does not answer, whoever asks", async () => {
    const { clock, attempts } = lab({ concurrencyMax: 1 });
    const others = lab().attempts;
    const ending = { isStoreAway: false };
    const asked: number[] = [];
    const ask = (of: Attempts, n: number) =>
      of
        .run(operation, () => {
          asked.push(n);
          return deferred<never>().promise;
        })
        .catch((error: unknown) => String(error));
    const first = ask(attempts, 1);
    const waiting = ask(attempts, 2);
    await settle();
    for (const one of [attempts, others]) one.stop(ending);
    clock.advance(1_000);
    expect(await first).toContain("no answer within 1000 ms");
    expect(await waiting).toContain("the broker stops");
    expect(await ask(attempts, 3)).toContain("the broker stops");
    expect(await ask(others, 4)).toContain("the broker stops");
    expect([asked, clock.pendingTimers]).toEqual([[1], 0]);
  });
});
