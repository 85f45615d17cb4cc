import { expect, test } from "bun:test";
import { MeteredStore, type StoreCall } from "../../src/store/metered-store.ts";
import { type ObjectStore, StoreError } from "../../src/store/object-store.ts";
import { FakeClock } from "../support/fake-clock.ts";

const clock = new FakeClock();

/** A metered store over one that answers what it is told to, each call a quarter of a second. */
function metered(answers: Partial<ObjectStore>) {
  const calls: StoreCall[] = [];
  const slow = new Proxy(answers as ObjectStore, {
    get(target, name) {
      const answer = Reflect.get(target, name) as unknown;
      if (typeof answer !== "function") return answer;
      return (...args: unknown[]) => {
        clock.advance(250);
        return (answer as (...all: unknown[]) => unknown)(...args);
      };
    },
  });
  return { calls, store: new MeteredStore(slow, clock, (call) => calls.push(call)) };
}

const told = (operation: string, outcome: string, bytes = 0) => ({
  operation,
  outcome,
  bytes,
  seconds: 0.25,
});

test("each call is told with its outcome, bytes and time, and answers unchanged", async () => {
  const { store, calls } = metered({
    description: "a store",
    putFile: async () => "exists",
    putBytes: async (key) => (key === "new" ? "stored" : "exists"),
    head: async (key) => (key === "new" ? { bytes: 3 } : null),
    getRange: async (_key, _position, length) => new Uint8Array(length),
    openForVerify: async (key) => ({ path: key, release: () => Promise.resolve() }),
    list: async () => ({ objects: [], next: null }),
    delete: async () => undefined,
  });
  expect(store.description).toBe("a store");
  expect(await store.putFile("k", "/f", "00")).toBe("exists");
  expect(await store.putBytes("new", new Uint8Array(7))).toBe("stored");
  expect(await store.putBytes("old", new Uint8Array(7))).toBe("exists");
  expect(await store.head("new")).toEqual({ bytes: 3 });
  expect(await store.head("old")).toBeNull();
  expect(await store.getRange("k", 5, 11)).toHaveLength(11);
  expect((await store.openForVerify("k")).path).toBe("k");
  expect(await store.list("", null, 1)).toEqual({ objects: [], next: null });
  await store.delete("k");
  expect(calls as unknown[]).toEqual([
    told("put-file", "exists"),
    told("put-bytes", "ok", 7),
    told("put-bytes", "exists"),
    told("head", "ok"),
    told("head", "absent"),
    told("get-range", "ok", 11),
    told("open", "ok"),
    told("list", "ok"),
    told("delete", "ok"),
  ]);
});

test("a failure is told by its kind and reaches the caller", async () => {
  const { store, calls } = metered({
    getRange: (key) => Promise.reject(new StoreError("unavailable", key, "is away")),
    delete: () => Promise.reject(new Error("a bug")),
  });
  await expect(store.getRange("k", 0, 1)).rejects.toThrow("is away");
  await expect(store.delete("k")).rejects.toThrow("a bug");
  expect(calls as unknown[]).toEqual([told("get-range", "unavailable"), told("delete", "error")]);
});
