/** JavaScriptCore's name for "plan as if the machine had so much memory". It is read once, while
 * the process starts, and from the environment only. */
export const heapVariable = "BUN_JSC_forceRAMSize";
/**
 * The collector lets a heap that is small beside the machine's memory double, buffers included,
 * before it collects: records sent and evicted long ago would hold several hundred MiB. Beside
 * this size a heap grows by half past 32 MiB and by a quarter past 64 MiB. It is for planning
 * only: a broker that needs more memory gets it.
 */
const heapPlanBytes = 128 << 20;

/**
 * The variables to start a broker again with, so that its heap has little slack; null where there
 * is nothing to do: the variable is set, or another command than a broker is asked for. `args` are
 * those behind the program's name.
 */
export function heapEnvironment(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Record<string, string> | null {
  const [first] = args;
  const isBroker = first === undefined || first.startsWith("-") || brokerVerbs.includes(first);
  if (!isBroker || environment[heapVariable] !== undefined) return null;
  return { [heapVariable]: String(heapPlanBytes) };
}

/** A verb behind flags is taken for a broker: that costs its start 10 ms. */
const brokerVerbs: readonly string[] = ["standalone", "all"];
