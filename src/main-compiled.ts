import { heapEnvironment } from "./main-heap.ts";

/** Where the executable begins: a broker replaces itself, under the same process id and before
 * anything else is loaded, by one with a tighter heap; then as from the sources. */
const args = process.argv.slice(2);
const variables = heapEnvironment(args, process.env);
if (variables !== null) {
  try {
    // The file that runs, even if another was put in its place meanwhile.
    const given = { ...process.env, ...variables };
    process.execve?.("/proc/self/exe", [process.argv0, ...args], given);
  } catch {
    // Where that is forbidden the broker runs as it is, with more memory.
  }
}
await import("./main.ts");
