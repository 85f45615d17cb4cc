import { expect, test } from "bun:test";
import { serveAdmin } from "../../admin/server.ts";
import type { AdminView } from "../../admin/view.ts";

const view = {} as AdminView;

test("a second broker does not share the admin port of the first", async () => {
  const first = serveAdmin(view, { host: "127.0.0.1", port: 0 }, () => undefined);
  try {
    const address = { host: "127.0.0.1", port: first.port };
    expect(() => serveAdmin(view, address, () => undefined)).toThrow(
      expect.objectContaining({ code: "CHRONIK_PORT_IN_USE" }),
    );
  } finally {
    await first.stop();
  }
});
