import type { Hono } from "hono";
import type { AdminView } from "../view.ts";

/** Damage that is known, and verification on demand: it may take hours, so nobody waits for it. */
export function integrityRoutes(app: Hono, view: AdminView): void {
  app.get("/admin/integrity", (c) => c.json(view.integrity()));
  app.post("/admin/integrity/run", (c) => {
    const deep = c.req.query("deep") ?? "false";
    if (deep !== "true" && deep !== "false") {
      return c.json({ error: "deep must be true or false" }, 400);
    }
    if (!view.runIntegrity(deep === "true")) {
      return c.json({ error: "a run is under way; see GET /admin/integrity" }, 409);
    }
    return c.json({ started: true, progress: "GET /admin/integrity" }, 202);
  });
}
