import { expect, test } from "bun:test";
import { adminApp } from "../../admin/app.ts";
import type { AdminView } from "../../admin/view.ts";

function view(over: Partial<AdminView> = {}): AdminView {
  return {
    isLive: () => true,
    notReadyReason: () => null,
    metricsText: () => "chronik_up 1\n",
    walStatus: () => [],
    segments: (topic, partition) => [{ topic, partition }],
    topics: () => [],
    runIndexer: () => Promise.resolve({ errors: 0 }),
    indexerStats: () => ({ enabled: true }),
    backup: () => ({ enabled: false }),
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

test("segments take a topic and a partition; a bad partition is refused", async () => {
  expect(await (await get(view(), "/admin/segments?topic=a&partition=3")).json()).toEqual({
    segments: [{ topic: "a", partition: 3 }],
  });
  for (const bad of ["-1", "x", "1e3", "99999999999"]) {
    expect((await get(view(), `/admin/segments?partition=${bad}`)).status).toBe(400);
  }
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
