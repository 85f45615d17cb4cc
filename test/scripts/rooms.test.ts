import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { rooms } from "../../scripts/rooms.ts";

const folder = mkdtempSync(join(tmpdir(), "chronik-rooms-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function lay(...files: string[]): string[] {
  for (const file of files) {
    mkdirSync(join(folder, "test", file, ".."), { recursive: true });
    writeFileSync(join(folder, "test", file), "");
  }
  return rooms(folder).map(({ name }) => name);
}

describe("rooms", () => {
  test("are the folders that hold tests, cheapest first", () => {
    const names = lay(
      "tidy.test.ts",
      "crash/kill.test.ts",
      "clients/java/pom.xml",
      "clients/java.test.ts",
      "new-room/deep/a.test.ts",
      "lib/a.test.ts",
      "support/wait.test.ts",
      "fixtures/data.bin",
      "no-tests/notes.ts",
      "broker/produce.test.ts",
      "differential/differences.test.ts",
    );
    expect(names).toEqual([
      "tidy",
      "lib",
      "new-room",
      "cargo",
      "broker",
      "differential",
      "clients",
      "crash",
    ]);
    // Those that drive the executable need it built.
    const needing = rooms(folder).filter(({ needs }) => needs === "executables");
    expect(needing.map(({ name }) => name)).toEqual(["broker", "differential", "clients", "crash"]);
  });
  test("no file with tests is left out", () => {
    const root = resolve(import.meta.dir, "..", "..");
    const paths = rooms(root).map(({ path }) => path);
    const files = [...new Bun.Glob("test/**/*.test.ts").scanSync({ cwd: root })];
    const missed = files.filter(
      (file) => !paths.some((path) => path !== null && `./${file}`.startsWith(path)),
    );
    expect(files.length).toBeGreaterThan(0);
    expect(missed).toEqual([]);
  });
});
