import { describe, expect, test } from "bun:test";
import { LogRoot, parseLevels } from "../../src/telemetry/logger.ts";
import { FakeClock } from "../support/fake-clock.ts";

function root(format: "text" | "json" = "text", levels = "info") {
  const lines: string[] = [];
  const state = { full: false };
  const sink = {
    write(line: string) {
      if (!state.full) lines.push(line);
      return !state.full;
    },
  };
  const clock = new FakeClock(1_700_000_000_000);
  const logs = new LogRoot({ clock, sink, levels: parseLevels(levels), format });
  return { logs, lines, state };
}

describe("text", () => {
  test("time, level, component, message, fields", () => {
    const { logs, lines } = root();
    logs.logger("tier").info("uploaded", { key: "a/b.tar.gz", bytes: 12, ok: true, none: null });
    expect(lines).toEqual([
      "2023-11-14T22:13:20.000Z INFO  tier: uploaded key=a/b.tar.gz bytes=12 ok=true none=null\n",
    ]);
  });
  test("a value that could be mistaken is quoted, one that is absent left out", () => {
    const { logs, lines } = root();
    logs
      .logger("net")
      .warn("closed", { client_id: 'a b="c"', err: new Error("no\nway"), x: undefined });
    expect(lines[0]).toEndWith('net: closed client_id="a b=\\"c\\"" err="no\\nway"\n');
  });
  test("control characters cannot forge a line or colour a terminal", () => {
    const { logs, lines } = root();
    logs.logger("net").info("topic \u001b[31mred\n2023 INFO fake", { name: "x\ny\u0000" });
    expect(lines).toHaveLength(1);
    expect(lines[0]?.match(/\p{Cc}/gu)).toEqual(["\n"]);
  });
});

describe("json", () => {
  test("one object a line with stable keys", () => {
    const { logs, lines } = root("json");
    logs.logger("wal").error("failed", { partition: 3, offset: 12n, err: new Error("disk") });
    expect(JSON.parse(lines[0] ?? "")).toEqual({
      ts: "2023-11-14T22:13:20.000Z",
      level: "error",
      component: "wal",
      msg: "failed",
      partition: 3,
      offset: "12",
      err: "disk",
    });
  });
  test("stays JSON when it is cut", () => {
    const { logs, lines } = root("json");
    const fields = Object.fromEntries(
      Array.from({ length: 50 }, (_, index) => [`field${index}`, "x".repeat(400)]),
    );
    logs.logger("wal").info("many", fields);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ msg: "many", cut: true });
  });
});

describe("what is written", () => {
  test("levels by component, changeable while running", () => {
    const { logs, lines } = root("text", "warn,indexer=debug");
    const indexer = logs.logger("net").child("indexer");
    logs.logger("net").info("hidden");
    indexer.debug("shown");
    expect(lines).toHaveLength(1);
    expect(indexer.enabled("debug")).toBe(true);
    logs.setLevels(parseLevels("error"));
    indexer.warn("hidden");
    expect(indexer.enabled("warn")).toBe(false);
    expect(lines).toHaveLength(1);
  });
  test("of buffers only the length, of objects only the plain values", () => {
    const { logs, lines } = root();
    const circular: Record<string, unknown> = { a: 1, inner: { secret: "hunter2" } };
    circular["self"] = circular;
    logs.logger("x").info("m", { batch: new TextEncoder().encode("hunter2"), circular });
    expect(lines[0]).toContain('batch="7 bytes"');
    expect(lines[0]).not.toContain("hunter2");
  });
  test("long values and lines are cut", () => {
    const { logs, lines } = root();
    logs.logger("x").info("y".repeat(10_000), { name: "z".repeat(10_000) });
    expect(lines[0]?.length).toBeLessThan(1_200);
    const fields = Object.fromEntries(
      Array.from({ length: 100 }, (_, index) => [`f${index}`, "x".repeat(500)]),
    );
    logs.logger("x").info("m", fields);
    expect(lines[1]?.length).toBeLessThan(4_200);
  });
});

test("lines that cannot be written are counted, and told of later", () => {
  const { logs, lines, state } = root();
  const log = logs.logger("x");
  state.full = true;
  log.info("lost");
  log.info("lost too");
  expect(logs.lostLines).toBe(2);
  state.full = false;
  log.info("back");
  expect(lines.map((line) => line.slice(25).trim())).toEqual([
    "INFO  x: back",
    "WARN  log: 2 lines were lost because standard error did not keep up",
  ]);
  expect(logs.lostLines).toBe(0);
});
