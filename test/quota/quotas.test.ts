import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type ClientQuota, quotaEntity, quotaKey } from "../../src/metadata/client-quotas.ts";
import { ClientQuotas } from "../../src/quota/client-quotas.ts";
import { QuotaLimits } from "../../src/quota/quota-limits.ts";
import { Recent } from "../../src/quota/recent.ts";
import { TokenBucket } from "../../src/quota/token-bucket.ts";
import { WindowedRate } from "../../src/quota/windowed-rate.ts";
import { FakeClock } from "../support/fake-clock.ts";

const windows = { count: 11, lengthMs: 1000 };
const someone = { user: "ANONYMOUS", clientId: "c" };

type Pairs = [string, string | null][];

function quota(entity: Pairs, values: Record<string, number>): ClientQuota {
  return { entity: quotaEntity(entity), values: new Map(Object.entries(values)) };
}

function lab(quotas: ClientQuota[], entitiesMax = 100) {
  const clock = new FakeClock();
  const all = new ClientQuotas({ clock, windows, controllerWindows: windows, entitiesMax });
  const set = (next: ClientQuota[]) =>
    all.update(new Map(next.map((one) => [quotaKey(one.entity), one])));
  set(quotas);
  return { clock, quotas: all, set };
}

describe("a windowed rate", () => {
  test("takes all windows but the running one for whole, however young it is", () => {
    const rate = new WindowedRate(windows);
    rate.record(1000, 0);
    // 1,000 over ten windows of a second.
    expect(rate.rate(0)).toBe(100);
    expect(rate.rate(500)).toBeCloseTo(1000 / 10.5);
    expect(rate.throttleMs(100, 0)).toBe(0);
    expect(rate.throttleMs(50, 0)).toBe(10_000);
  });

  test("forgets what is older than its windows", () => {
    const rate = new WindowedRate(windows);
    rate.record(5000, 0);
    for (let second = 1; second <= 30; second++) rate.record(100, second * 1000);
    expect(rate.rate(30_000)).toBeLessThan(121);
    expect(rate.rate(30_000)).toBeGreaterThanOrEqual(100);
    expect(rate.rate(90_000)).toBe(0);
  });

  test("who waits as long as told stays near the limit, whatever the pattern", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 10, max: 1_000_000 }),
        fc.array(fc.tuple(fc.integer({ min: 1, max: 500_000 }), fc.nat(5_000)), {
          minLength: 20,
          maxLength: 80,
        }),
        (limit, sends) => {
          const rate = new WindowedRate(windows);
          let nowMs = 0;
          let sent = 0;
          let largest = 0;
          for (const [bytes, pauseMs] of sends) {
            rate.record(bytes, nowMs);
            sent += bytes;
            largest = Math.max(largest, bytes);
            nowMs += rate.throttleMs(limit, nowMs) + pauseMs;
          }
          // A burst of all windows at either end, and the samples that reach over a border.
          const allowed = 1.25 * limit * (22 + nowMs / 1000) + largest;
          expect(sent).toBeLessThanOrEqual(allowed);
        },
      ),
      { numRuns: 200, endOnFailure: true },
    );
  });
});

test("a token bucket saves up what all windows bring, and goes below zero once", () => {
  const bucket = new TokenBucket(windows);
  expect(bucket.throttleMs(2, 0)).toBe(0);
  bucket.take(22, 2, 0);
  expect(bucket.throttleMs(2, 0)).toBe(0);
  bucket.take(5, 2, 0);
  expect(bucket.throttleMs(2, 0)).toBe(2_500);
  expect(bucket.throttleMs(2, 2_499)).toBe(1);
  expect(bucket.throttleMs(2, 2_500)).toBe(0);
  bucket.take(22, 2, 1_000_000);
  expect(bucket.throttleMs(2, 1_000_000)).toBe(0);
});

test("the most specific quota holds, a user's before a default user's before a client id's", () => {
  const levels: Pairs[] = [
    [
      ["user", "u"],
      ["client-id", "c"],
    ],
    [
      ["user", "u"],
      ["client-id", null],
    ],
    [["user", "u"]],
    [
      ["user", null],
      ["client-id", "c"],
    ],
    [
      ["user", null],
      ["client-id", null],
    ],
    [["user", null]],
    [["client-id", "c"]],
    [["client-id", null]],
  ];
  const all = levels.map((entity, index) => quota(entity, { k: index + 1, other: 99 }));
  for (let from = 0; from < levels.length; from++) {
    const limits = new QuotaLimits("k", all.slice(from));
    expect(limits.find("u", "c")?.perSecond).toBe(from + 1);
  }
  expect(new QuotaLimits("k", []).find("u", "c")).toBeNull();
  const limits = new QuotaLimits("k", all);
  expect(limits.find("u", "d")?.perSecond).toBe(2);
  expect(limits.find("v", "c")?.perSecond).toBe(4);
  expect(limits.find("v", "d")?.perSecond).toBe(5);
  // Without a client id only what is said of users holds.
  expect(limits.find("u", "")?.perSecond).toBe(3);
  expect(limits.find("v", "")?.perSecond).toBe(6);
  expect(new QuotaLimits("k", all.slice(6)).find("v", "")).toBeNull();
});

test("who shares a limit: all clients of a user, each client id under a default", () => {
  const shared = (entity: Pairs, user: string, clientId: string) =>
    new QuotaLimits("k", [quota(entity, { k: 1 })]).find(user, clientId)?.shared;
  expect(shared([["user", "u"]], "u", "a")).toBe(shared([["user", "u"]], "u", "b")!);
  expect(shared([["user", null]], "u", "a")).toBe(shared([["user", null]], "u", "b")!);
  expect(shared([["user", null]], "u", "a")).not.toBe(shared([["user", null]], "v", "a")!);
  const clients: Pairs = [["client-id", null]];
  expect(shared(clients, "u", "a")).toBe(shared(clients, "v", "a")!);
  expect(shared(clients, "u", "a")).not.toBe(shared(clients, "u", "b")!);
});

test("without quotas nothing is counted and nobody waits", () => {
  const { quotas } = lab([]);
  expect(quotas.produce(someone, 1e12)).toBe(0);
  expect(quotas.fetch(someone, 1e12)).toEqual({ throttleMs: 0, isHeldBack: false });
  expect(quotas.request(someone, 1e6)).toBe(0);
  expect(quotas.mutations(someone, true).admit(1e6)).toBe(true);
  expect(quotas.connection("127.0.0.1")).toBe(0);
  expect(quotas.fetchBytesMax(someone)).toBe(Number.POSITIVE_INFINITY);
  expect([quotas.tracked, quotas.countsFetches, quotas.countsRequests]).toEqual([0, false, false]);
});

test("producers wait by what they sent, consumers are not counted what was held back", () => {
  const { quotas, clock, set } = lab([
    quota([["client-id", "c"]], { producer_byte_rate: 1000, consumer_byte_rate: 500 }),
  ]);
  expect(quotas.produce(someone, 10_000)).toBe(0);
  expect(quotas.produce(someone, 10_000)).toBe(10_000);
  expect(quotas.produce({ user: "ANONYMOUS", clientId: "d" }, 1e9)).toBe(0);
  expect(quotas.fetchBytesMax(someone)).toBe(5_000);
  const sent = { throttleMs: 0, isHeldBack: false };
  const heldBack = { throttleMs: 2_000, isHeldBack: true };
  expect(quotas.fetch(someone, 5_000)).toEqual(sent);
  expect(quotas.fetch(someone, 1_000)).toEqual(heldBack);
  expect(quotas.fetch(someone, 1_000)).toEqual(heldBack);
  quotas.notFetched(someone, 5_000);
  expect(quotas.fetch(someone, 5_000)).toEqual(sent);
  clock.advance(12_000);
  expect(quotas.produce(someone, 10_000)).toBe(0);
  // What is sent anyway counts.
  expect(quotas.deliver(someone, 6_000)).toBe(2_000);
  expect(quotas.deliver(someone, 500)).toBeGreaterThan(2_000);
  set([quota([["client-id", "c"]], { producer_byte_rate: 500 })]);
  // The new limit meets what was counted before.
  expect(quotas.produce(someone, 1)).toBeGreaterThan(9_000);
  expect(quotas.fetch(someone, 1e9)).toEqual(sent);
});

test("a batch that never fits goes out when its client is within the quota, and counts", () => {
  const { quotas, clock } = lab([quota([["client-id", "c"]], { consumer_byte_rate: 500 })]);
  // 30,000 bytes are 60 seconds of the quota, whose windows stand for ten.
  expect(quotas.fetch(someone, 30_000)).toEqual({ throttleMs: 50_000, isHeldBack: false });
  expect(quotas.fetch(someone, 30_000).isHeldBack).toBe(true);
  expect(quotas.fetch(someone, 1).isHeldBack).toBe(true);
  clock.advance(50_000);
  expect(quotas.fetch(someone, 5_000)).toEqual({ throttleMs: 0, isHeldBack: false });
  // What is there besides does not keep it back for ever; more than is due is.
  expect(quotas.fetch(someone, 5_001).isHeldBack).toBe(false);
  expect(quotas.fetch(someone, 5_001).isHeldBack).toBe(true);
});

test("a wait is at most what an answer can tell", () => {
  const tiny = { producer_byte_rate: 1, controller_mutation_rate: 1e-9 };
  const { quotas } = lab([quota([["user", null]], tiny)]);
  expect(quotas.produce(someone, 1e12)).toBe(2 ** 31 - 1);
  const lenient = quotas.mutations(someone, false);
  expect([lenient.admit(1e6), lenient.throttleMs()]).toEqual([true, 2 ** 31 - 1]);
});

test("request time: a percentage of the event loop, a wait of one window at most", () => {
  const { quotas } = lab([quota([["user", null]], { request_percentage: 10 })]);
  expect(quotas.countsRequests).toBe(true);
  // 10 % of ten seconds.
  expect(quotas.request(someone, 1_000)).toBe(0);
  expect(quotas.request(someone, 1)).toBe(10);
  expect(quotas.request(someone, 1_000)).toBe(1_000);
});

test("mutations: refused where the client knows how, else only made to wait", () => {
  const { quotas, clock } = lab([quota([["user", null]], { controller_mutation_rate: 2 })]);
  const strict = quotas.mutations(someone, true);
  expect([strict.admit(22), strict.admit(4), strict.admit(1)]).toEqual([true, true, false]);
  expect(strict.throttleMs()).toBe(2_000);
  clock.advance(500);
  expect(strict.throttleMs()).toBe(1_500);
  const lenient = quotas.mutations(someone, false);
  expect(lenient.admit(1)).toBe(true);
  expect(lenient.throttleMs()).toBe(2_000);
  clock.advance(2_000);
  expect(quotas.mutations(someone, true).admit(1)).toBe(true);
});

test("connections: by address, one spelling each; who came too soon is not counted", () => {
  const { quotas, clock } = lab([
    quota([["ip", null]], { connection_creation_rate: 1 }),
    quota([["ip", "0:0:0:0:0:0:0:1"]], { connection_creation_rate: 2 }),
  ]);
  const open = (address: string, count: number) =>
    Array.from({ length: count }, () => quotas.connection(address)).filter((ms) => ms === 0).length;
  expect(open("10.0.0.1", 15)).toBe(10);
  expect(open("::ffff:10.0.0.1", 1)).toBe(0);
  expect(open("10.0.0.2", 3)).toBe(3);
  expect(open("::1", 30)).toBe(20);
  expect(quotas.connection("::1")).toBeGreaterThan(0);
  expect(quotas.connection("::1")).toBeLessThanOrEqual(1_000);
  let welcome = 0;
  for (let second = 0; second < 30; second++) {
    clock.advance(1_000);
    welcome += open("10.0.0.1", 20);
  }
  // Who keeps knocking still gets what the rate allows.
  expect(welcome).toBeGreaterThanOrEqual(15);
  expect(welcome).toBeLessThanOrEqual(40);
});

test("who is counted is bounded: the longest unseen goes, and all after an hour", () => {
  const { quotas, clock } = lab([quota([["client-id", null]], { producer_byte_rate: 10 })], 3);
  for (const clientId of ["a", "b", "a", "c", "d"]) quotas.produce({ user: "u", clientId }, 100);
  expect(quotas.tracked).toBe(3);
  // "b" was forgotten and begins anew, "a" was not.
  expect(quotas.produce({ user: "u", clientId: "a" }, 100)).toBeGreaterThan(0);
  expect(quotas.produce({ user: "u", clientId: "b" }, 100)).toBe(0);
  clock.advance(3_600_001);
  quotas.produce({ user: "u", clientId: "z" }, 1);
  expect(quotas.tracked).toBe(1);
});

test("recent: the one just made is never the one forgotten", () => {
  const recent = new Recent(1, 10, () => ({ n: 0 }));
  recent.use("a", 0).n = 1;
  recent.use("b", 0).n = 2;
  expect([recent.size, recent.use("b", 0).n, recent.use("a", 0).n]).toEqual([1, 2, 0]);
});
