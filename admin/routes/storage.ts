import type { Hono } from "hono";
import type { AdminView } from "../view.ts";

/** WAL state and topics. */
export function storageRoutes(app: Hono, view: AdminView): void {
  app.get("/admin/wal/status", (c) => c.json({ partitions: view.walStatus() }));
  app.get("/admin/topics", (c) => c.json({ topics: view.topics() }));
}
