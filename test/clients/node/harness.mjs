/**
 * What the programs of the Node clients share. A program lists its cases, each
 * `[name, async () => …]` with a name `feature: what`, and prints one JSON line a case:
 * `{"test", "outcome", "detail"}`.
 */
import { parseArgs } from "node:util";

const caseMsMax = 60_000;
const { values } = parseArgs({ options: { bootstrap: { type: "string" } } });

export const bootstrap = values.bootstrap;
let names = 0;
const run = `${process.pid}-${Date.now().toString(36)}`;

/** A topic, group or transactional id that nothing else uses. */
export function unique(what) {
  names++;
  return `${what}-${run}-${names}`;
}

/** Rejects when a promise takes longer than a case may. */
export async function within(promise, what, ms = caseMsMax) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again until it holds. */
export async function until(what, condition, ms = 30_000) {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export async function runCases(cases) {
  for (const [test, body] of cases) {
    let line = { test, outcome: "passed" };
    try {
      await within(body(), test);
    } catch (error) {
      const detail = `${error?.stack ?? error} ${error?.cause ?? ""}`;
      const causes = (error?.errors ?? []).map((one) => `${one?.message ?? one}`).join("; ");
      line = { test, outcome: "failed", detail: `${detail} ${causes}` };
    }
    console.log(JSON.stringify(line));
  }
  process.exit(0);
}
