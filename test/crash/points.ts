import { readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");

/** Every kill point of the engine, read from where they are named. */
export function enginePoints(): string[] {
  const rust = readFileSync(join(root, "ffi/src/fault.rs"), "utf8");
  const list = /pub const POINTS[^=]*= \[([^\]]*)\]/.exec(rust)?.[1] ?? "";
  return [...list.matchAll(/"([\w-]+)"/g)].map((match) => `${match[1]}`);
}

/** Every kill point of the broker's own, by the file that names it. */
export function brokerPoints(): Map<string, string> {
  const found = new Map<string, string>();
  for (const path of new Bun.Glob("src/**/*.ts").scanSync({ cwd: root })) {
    const text = readFileSync(join(root, path), "utf8");
    for (const [, name = ""] of text.matchAll(/faultPoint\(\s*"([\w-]+)"/g)) found.set(name, path);
  }
  return found;
}

/** Those that every archive passes on its way from the WAL. */
export function archiverPoints(): string[] {
  const points = [...brokerPoints()].filter(([, path]) => path === "src/tier/archiver.ts");
  return points.map(([name]) => name);
}
