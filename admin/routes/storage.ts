import type { Hono } from "hono";
import type { AdminView } from "../view.ts";

const partitionPattern = /^\d{1,9}$/;

/** WAL state, the segment registry, topics and the backup. */
export function storageRoutes(app: Hono, view: AdminView): void {
  app.get("/admin/wal/status", (c) => c.json({ partitions: view.walStatus() }));
  app.get("/admin/backup", (c) => c.json(view.backup()));
  app.get("/admin/topics", (c) => c.json({ topics: view.topics() }));
  app.get("/admin/segments", (c) => {
    const topic = c.req.query("topic") ?? null;
    const partition = c.req.query("partition") ?? null;
    if (partition !== null && !partitionPattern.test(partition)) {
      return c.json({ error: "partition must be a number from 0 on" }, 400);
    }
    const segments = view.segments(topic, partition === null ? null : Number(partition));
    return c.json({ segments });
  });
}
