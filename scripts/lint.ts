import { join } from "node:path";
import { installPackages } from "./setup.ts";
import { bun, exists, heading, main, requireProgram, root, run } from "./support.ts";

interface Check {
  readonly name: string;
  readonly command: readonly string[];
  readonly cwd?: string;
}

const ffi = join(root, "ffi");

/** Every check, none of which writes a tracked file. Cheapest first; all run, then the verdict. */
const checks: readonly Check[] = [
  { name: "biome", command: [bun, "x", "biome", "ci", "--error-on-warnings", "."] },
  { name: "types", command: [bun, "check"] },
  { name: "dead code", command: [bun, "x", "knip", "--no-progress"] },
  { name: "rustfmt", command: ["cargo", "fmt", "--check"], cwd: ffi },
  {
    name: "clippy",
    command: ["cargo", "clippy", "--release", "--locked", "--all-targets", "--", "-D", "warnings"],
    cwd: ffi,
  },
  ...(exists("scripts/generate.ts")
    ? [{ name: "codecs", command: [bun, "scripts/generate.ts", "--check"] }]
    : []),
];

await main(async () => {
  await installPackages();
  requireProgram("cargo", "the checks need Rust 1.88 or newer; see https://rustup.rs");
  const failed: string[] = [];
  for (const check of checks) {
    heading(`lint ${check.name}`);
    if ((await run(check.command, { cwd: check.cwd ?? root })) !== 0) failed.push(check.name);
  }
  console.error(failed.length === 0 ? "\nlint: all clean" : `\nlint failed: ${failed.join(", ")}`);
  return failed.length === 0 ? 0 : 1;
});
