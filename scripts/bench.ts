import { build } from "./build.ts";
import { main, run } from "./support.ts";

/** Builds, then runs `chronik bench` with the arguments given, against a running broker. */
await main(async () => run([await build("release"), "bench", ...process.argv.slice(2)]));
