import { expect, test } from "bun:test";
import { adminApp } from "../../admin/app.ts";
import type { AdminView, SegmentsQuery } from "../../admin/view.ts";

function view(over: Partial<AdminView> = {}): AdminView {
  return {
    isLive: () => true,
    notReadyReason: () => null,
    metricsText: () => "chronik_up 1\n",
    walStatus: () => [],
    segments: () => ({ segments: [], next: null }),
    tiers: () => null,
    timeline: () => [],
    pauseIndexer: (paused) => paused,
    topics: () => [],
    runIndexer: () => Promise.resolve({ errors: 0 }),
    indexerStats: () => ({ enabled: true }),
    ...over,
  };
}

const errors: string[] = [];
const get = (v: AdminView, path: string, init: RequestInit = {}, host = "localhost:6092") =>
  adminApp(v, (_, p) => errors.push(p)).request(path, { ...init, headers: { host } });

test("health follows the broker", async () => {
  expect((await get(view(), "/livez")).status).toBe(200);
  expect((await get(view(), "/readyz")).status).toBe(200);
  const starting = await get(view({ notReadyReason: () => "recovering" }), "/readyz");
  expect(starting.status).toBe(503);
  expect(await starting.text()).toContain("recovering");
  expect((await get(view({ isLive: () => false }), "/livez")).status).toBe(503);
});

test("metrics are Prometheus text", async () => {
  const response = await get(view(), "/metrics");
  expect(response.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
  expect(await response.text()).toBe("chronik_up 1\n");
});

test("segments come in pages, of a topic and a partition; a bad number is refused", async () => {
  const asked: SegmentsQuery[] = [];
  const paged = view({
    segments(query) {
      asked.push(query);
      const isLast = query.after !== null;
      return { segments: [], next: isLast ? null : { partition: "id-a/3", base: 40 } };
    },
  });
  const first = await get(paged, "/admin/segments?topic=a&partition=3&limit=2");
  expect(await first.json()).toEqual({ segments: [], next: "id-a/3@40" });
  const second = await get(paged, "/admin/segments?after=id-a/3@40");
  expect(await second.json()).toEqual({ segments: [], next: null });
  expect(asked).toEqual([
    { topic: "a", partition: 3, after: null, limit: 2 },
    { topic: null, partition: null, after: { partition: "id-a/3", base: 40 }, limit: 1000 },
  ]);
  for (const bad of ["partition=-1", "partition=x", "partition=1e3", "partition=99999999999"]) {
    expect((await get(view(), `/admin/segments?${bad}`)).status).toBe(400);
  }
  for (const bad of ["limit=0", "limit=10001", "limit=x", "after=x"]) {
    expect((await get(view(), `/admin/segments?${bad}`)).status).toBe(400);
  }
  expect((await get(view({ segments: () => null }), "/admin/segments?after=a/0@1")).status).toBe(
    400,
  );
});

test("tiers of a partition that is not here are not found; bad numbers are refused", async () => {
  const path = "/admin/topics/t/partitions/0/tiers";
  expect((await get(view(), path)).status).toBe(404);
  for (const bad of [`${path}?from_offset=-1`, `${path}?limit=0`, path.replace("/0/", "/x/")]) {
    expect((await get(view(), bad)).status).toBe(400);
  }
});

test("the timeline takes a limit and a topic", async () => {
  const told = view({ timeline: (limit, topic) => [{ limit, topic }] });
  const answer = await get(told, "/admin/indexer/timeline?limit=5&topic=a");
  expect(await answer.json()).toEqual({ events: [{ limit: 5, topic: "a" }] });
  expect((await get(told, "/admin/indexer/timeline?limit=-5")).status).toBe(400);
});

test("the indexer is paused and resumed", async () => {
  const post = async (verb: string) =>
    (await get(view(), `/admin/indexer/${verb}`, { method: "POST" })).json();
  expect(await post("pause")).toEqual({ paused: true });
  expect(await post("resume")).toEqual({ paused: false });
});

test("an indexer run is on demand, and refused when indexing is off", async () => {
  const run = await get(view(), "/admin/indexer/run", { method: "POST" });
  expect(await run.json()).toEqual({ run: { errors: 0 } });
  const off = await get(view({ runIndexer: () => null }), "/admin/indexer/run", { method: "POST" });
  expect(off.status).toBe(409);
});

test("a foreign host name is refused; addresses and localhost pass", async () => {
  expect((await get(view(), "/livez", {}, "evil.example")).status).toBe(403);
  expect((await get(view(), "/livez", {}, "127.0.0.1.evil.example:6092")).status).toBe(403);
  expect((await get(view(), "/livez", {}, "127.0.0.1:6092")).status).toBe(200);
  expect((await get(view(), "/livez", {}, "[::1]:6092")).status).toBe(200);
});

test("an unknown route lists the routes, a failing one shows nothing of the error", async () => {
  const unknown = await get(view(), "/admin/nope");
  expect(unknown.status).toBe(404);
  expect(await unknown.text()).toContain("GET /admin/indexer/stats");
  const failing = await get(
    view({
      topics: () => {
        throw new Error("secret detail");
      },
    }),
    "/admin/topics",
  );
  expect(failing.status).toBe(500);
  expect(await failing.text()).not.toContain("secret");
  expect(errors).toContain("/admin/topics");
});
