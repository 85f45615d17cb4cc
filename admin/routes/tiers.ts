import type { Context, Hono } from "hono";
import type { AdminView, SegmentCursor } from "../view.ts";

const numberPattern = /^\d{1,15}$/;
const partitionPattern = /^\d{1,9}$/;
const cursorPattern = /^([A-Za-z0-9_-]{1,64}\/\d{1,9})@(\d{1,15})$/;
const pageMax = 10_000;
const pageDefault = 1_000;
const timelineDefault = 100;

/** Where data is: the registry's archives, the tiers of a partition, what became of ranges. */
export function tierRoutes(app: Hono, view: AdminView): void {
  app.get("/admin/segments", (c) => {
    const topic = c.req.query("topic") ?? null;
    const partition = c.req.query("partition") ?? null;
    const after = c.req.query("after") ?? null;
    const limit = limitOf(c, pageDefault);
    if (partition !== null && !partitionPattern.test(partition)) return badPartition(c);
    if (limit === null) return badLimit(c);
    const cursor = after === null ? null : parseCursor(after);
    const page =
      after !== null && cursor === null
        ? null
        : view.segments({
            topic,
            partition: partition === null ? null : Number(partition),
            after: cursor,
            limit,
          });
    if (page === null) {
      return c.json({ error: "after is not a place in the registry (any more); begin anew" }, 400);
    }
    const { segments, next } = page;
    return c.json({ segments, next: next && `${next.partition}@${next.base}` });
  });
  app.get("/admin/topics/:topic/partitions/:partition/tiers", (c) => {
    const { topic, partition } = c.req.param();
    const from = c.req.query("from_offset") ?? "0";
    const limit = limitOf(c, pageDefault);
    if (!partitionPattern.test(partition)) return badPartition(c);
    if (limit === null) return badLimit(c);
    if (!numberPattern.test(from)) {
      return c.json({ error: "from_offset must be a number from 0 on" }, 400);
    }
    const tiers = view.tiers(topic, Number(partition), { fromOffset: Number(from), limit });
    if (!tiers) return c.json({ error: `no partition ${partition} of topic ${topic} here` }, 404);
    return c.json(tiers);
  });
  app.get("/admin/indexer/timeline", (c) => {
    const limit = limitOf(c, timelineDefault);
    if (limit === null) return badLimit(c);
    return c.json({ events: view.timeline(limit, c.req.query("topic") ?? null) });
  });
}

function limitOf(c: Context, otherwise: number): number | null {
  const text = c.req.query("limit");
  if (text === undefined) return otherwise;
  const limit = Number(text);
  return numberPattern.test(text) && limit >= 1 && limit <= pageMax ? limit : null;
}

function parseCursor(text: string): SegmentCursor | null {
  const found = cursorPattern.exec(text);
  const [, partition, base] = found ?? [];
  return partition === undefined || base === undefined ? null : { partition, base: Number(base) };
}

function badPartition(c: Context): Response {
  return c.json({ error: "partition must be a number from 0 on" }, 400);
}

function badLimit(c: Context): Response {
  return c.json({ error: `limit must be a number from 1 to ${pageMax}` }, 400);
}
