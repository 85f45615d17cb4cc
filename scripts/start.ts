import { build } from "./build.ts";
import { setup } from "./setup.ts";
import { bun, heading, main } from "./support.ts";

/** Sets up, builds and runs the broker; `--watch` runs the sources and restarts on change. */
await main(async () => {
  const given = process.argv.slice(2);
  const watch = given.includes("--watch");
  const forwarded = given.filter((argument) => argument !== "--watch");
  if (watch) await setup();
  const command = watch ? [bun, "--watch", "src/main.ts"] : [await build("release")];
  heading([...command, ...forwarded].join(" "));
  // In a process group of its own, so that a signal reaches the broker once, through this script.
  const child = Bun.spawn([...command, ...forwarded], {
    stdio: ["inherit", "inherit", "inherit"],
    detached: true,
  });
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    let lastMs = Number.NEGATIVE_INFINITY;
    process.on(signal, () => {
      // A wrapper may signal this process and its group: that is still one request.
      if (performance.now() - lastMs > 500) child.kill(signal);
      lastMs = performance.now();
    });
  }
  return child.exited;
});
