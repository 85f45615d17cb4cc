import type { Hono } from "hono";
import type { AdminView } from "../view.ts";

/** Liveness, readiness and Prometheus metrics. */
export function healthRoutes(app: Hono, view: AdminView): void {
  app.get("/livez", (c) => (view.isLive() ? c.text("ok\n") : c.text("not live\n", 503)));
  app.get("/readyz", (c) => {
    const reason = view.notReadyReason();
    return reason === null ? c.text("ready\n") : c.text(`not ready: ${reason}\n`, 503);
  });
  app.get("/metrics", (c) =>
    c.body(view.metricsText(), 200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }),
  );
}
