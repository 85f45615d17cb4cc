import { join } from "node:path";
import { bun, main, must, root } from "./support.ts";

/** Formats and applies the safe fixes: the one check command that writes. */
await main(async () => {
  await must([bun, "x", "biome", "check", "--write", "."]);
  await must(["cargo", "fmt"], { cwd: join(root, "ffi") });
  return 0;
});
