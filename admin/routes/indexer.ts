import type { Hono } from "hono";
import type { AdminView } from "../view.ts";

/** The WAL indexer's figures, a run on demand (answers when the run has ended; also while paused),
 * and a pause, which does not outlive the broker. */
export function indexerRoutes(app: Hono, view: AdminView): void {
  app.get("/admin/indexer/stats", (c) => c.json(view.indexerStats()));
  app.post("/admin/indexer/run", async (c) => {
    const run = view.runIndexer();
    if (!run) {
      return c.json({ error: "WAL indexing is off; start without --no-wal-indexing" }, 409);
    }
    return c.json({ run: await run });
  });
  app.post("/admin/indexer/pause", (c) => c.json({ paused: view.pauseIndexer(true) }));
  app.post("/admin/indexer/resume", (c) => c.json({ paused: view.pauseIndexer(false) }));
}
