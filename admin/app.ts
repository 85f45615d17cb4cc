import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { healthRoutes } from "./routes/health.ts";
import { indexerRoutes } from "./routes/indexer.ts";
import { storageRoutes } from "./routes/storage.ts";
import { tierRoutes } from "./routes/tiers.ts";
import type { AdminView } from "./view.ts";

/** Admin requests carry no data worth more. */
const bodyBytesMax = 1024 * 1024;

/** The admin HTTP API. `onError` gets what a handler threw; the caller only sees that it failed. */
export function adminApp(view: AdminView, onError: (error: unknown, path: string) => void): Hono {
  const app = new Hono();
  app.use(bodyLimit({ maxSize: bodyBytesMax }));
  // A page of another site must not reach a loopback service through a name it controls.
  app.use(async (c, next) => {
    if (!isLocalName(c.req.header("host") ?? "")) {
      return c.json({ error: "unknown host name; use localhost or the bind address" }, 403);
    }
    c.header("x-content-type-options", "nosniff");
    await next();
    return;
  });
  healthRoutes(app, view);
  indexerRoutes(app, view);
  storageRoutes(app, view);
  tierRoutes(app, view);
  app.notFound((c) => {
    const routes = app.routes.filter((r) => r.method !== "ALL").map((r) => `${r.method} ${r.path}`);
    return c.json({ error: "no such route", routes }, 404);
  });
  app.onError((error, c) => {
    onError(error, c.req.path);
    return c.json({ error: "internal error; see the broker's log" }, 500);
  });
  return app;
}

const addressPattern = /^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:]+\])$/;

/** Host headers that name this machine itself: a loopback name or a literal address (DNS
 * rebinding needs a name). */
function isLocalName(host: string): boolean {
  const name = host.replace(/:\d+$/, "");
  return name === "localhost" || addressPattern.test(name);
}
