import { readdirSync } from "node:fs";
import { join } from "node:path";

/** What must stand before a room's tests can run. */
export type Needs = "library" | "executables";

/** One step of a test run: a folder below `test/`, the shape check, or cargo's own tests. */
export interface Room {
  readonly name: string;
  /** What `bun test` gets; null for cargo. */
  readonly path: string | null;
  readonly needs: Needs;
  /** Limit for a single test that does not set its own. */
  readonly timeoutMs: number;
}

/** Rooms that drive the built executables, cheapest first; they run after everything else. */
const late = [
  "packaging",
  "cli",
  "bench",
  "backup",
  "broker",
  "differential",
  "tools",
  "clients",
  "crash",
];

/** Folders below `test/` that hold no tests of their own. */
const notRooms = ["support", "fixtures"];

/** Every step there is, cheapest first, so that a mistake is found early. */
export function rooms(root: string): Room[] {
  const folders = readdirSync(join(root, "test"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !notRooms.includes(entry.name))
    .map((entry) => entry.name)
    .filter((name) => holdsTests(join(root, "test", name)))
    .sort();
  const early = folders.filter((name) => !late.includes(name));
  return [
    { name: "tidy", path: "./test/tidy.test.ts", needs: "library", timeoutMs: 60_000 },
    ...early.map((name) => room(name, "library", 30_000)),
    { name: "cargo", path: null, needs: "library", timeoutMs: 0 },
    ...late
      .filter((name) => folders.includes(name))
      .map((name) => room(name, "executables", 300_000)),
  ];
}

function room(name: string, needs: Needs, timeoutMs: number): Room {
  return { name, path: `./test/${name}/`, needs, timeoutMs };
}

function holdsTests(folder: string): boolean {
  return readdirSync(folder, { recursive: true }).some((name) => `${name}`.endsWith(".test.ts"));
}
