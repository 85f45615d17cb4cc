import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";

const root = join(import.meta.dir, "../..");

/** Every kill point of the engine, read from where they are named. */
export function enginePoints(): string[] {
  const rust = readFileSync(join(root, "ffi/src/fault.rs"), "utf8");
  const list = /pub const POINTS[^=]*= \[([^\]]*)\]/.exec(rust)?.[1] ?? "";
  return [...list.matchAll(/"([\w-]+)"/g)].map((match) => `${match[1]}`);
}

/** Every kill point of the broker's own, by the file that names it: of all files that the program
 * is made of. */
export function brokerPoints(): Map<string, string> {
  const found = new Map<string, string>();
  const files = ["src/main.ts"];
  for (const path of files) {
    const text = readFileSync(join(root, path), "utf8");
    for (const [, name = ""] of text.matchAll(/faultPoint\(\s*"([\w-]+)"/g)) found.set(name, path);
    for (const [, from = ""] of text.matchAll(/(?:from|import\()\s*"(\.[^"]+\.ts)"/g)) {
      const imported = join(dirname(path), from);
      if (!files.includes(imported)) files.push(imported);
    }
  }
  return found;
}

/** Those that every archive passes on its way from the WAL. */
export function archiverPoints(): string[] {
  const points = [...brokerPoints()].filter(([, path]) => path === "src/tier/archiver.ts");
  return points.map(([name]) => name);
}
