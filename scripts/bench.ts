import { startBroker } from "../test/support/broker-process.ts";
import { startPeerKafka } from "../test/support/peer-kafka.ts";
import { build } from "./build.ts";
import { main, run, ScriptError } from "./support.ts";

const contenders = ["chronik", "kafka"] as const;
type Contender = (typeof contenders)[number];

/** Four rounds each, in turns, so that a busy machine slows both alike. */
const rounds = 4;

/** The parts of `chronik bench --json` that are compared. */
interface Figures {
  readonly ok: boolean;
  readonly errors: readonly string[];
  readonly messagesPerSec: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number } | null;
}

/**
 * `bun run bench [arguments]` builds, then runs `chronik bench` with the arguments given, against a
 * running broker. With `--compare` it starts chronik and Apache Kafka flushing every append, on the
 * same disk, and runs the same against both in turns; one JSON line a run, then one with medians.
 */
await main(async () => {
  const args = process.argv.slice(2);
  const executable = await build("release");
  const isComparison = args.includes("--compare");
  if (!isComparison) return await run([executable, "bench", ...args]);
  return await compare(
    executable,
    args.filter((arg) => arg !== "--compare"),
  );
});

async function compare(executable: string, args: readonly string[]): Promise<number> {
  await using chronik = await startBroker({ bin: executable });
  await using kafka = await startPeerKafka({ flushEachAppend: true });
  const bootstrap = { chronik: chronik.bootstrap, kafka: kafka.bootstrap };
  const found: Record<Contender, Figures[]> = { chronik: [], kafka: [] };
  for (let round = 1; round <= rounds; round++) {
    for (const contender of contenders) {
      const figures = await measure(executable, bootstrap[contender], args);
      found[contender].push(figures);
      console.log(JSON.stringify({ contender, round, ...figures }));
    }
  }
  const medians = { chronik: medianOf(found.chronik), kafka: medianOf(found.kafka) };
  console.log(
    JSON.stringify({
      medians,
      messagesPerSecRatio: medians.chronik.messagesPerSec / medians.kafka.messagesPerSec,
      p99Ratio: medians.chronik.p99Ms / medians.kafka.p99Ms,
    }),
  );
  return 0;
}

async function measure(
  executable: string,
  bootstrap: string,
  args: readonly string[],
): Promise<Figures> {
  const child = Bun.spawn([executable, "bench", ...args, "-b", bootstrap, "--json"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [text, code] = await Promise.all([child.stdout.text(), child.exited]);
  if (code !== 0)
    throw new ScriptError(`the benchmark of ${bootstrap} ended with ${code}: ${text}`);
  const { ok, errors, messagesPerSec, latencyMs } = JSON.parse(text) as Figures;
  return { ok, errors, messagesPerSec, latencyMs };
}

function medianOf(runs: readonly Figures[]): Record<"messagesPerSec" | "p50Ms" | "p99Ms", number> {
  return {
    messagesPerSec: median(runs.map(({ messagesPerSec }) => messagesPerSec)),
    p50Ms: median(runs.map(({ latencyMs }) => latencyMs?.p50 ?? Number.NaN)),
    p99Ms: median(runs.map(({ latencyMs }) => latencyMs?.p99 ?? Number.NaN)),
  };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length / 2;
  const around = sorted.slice(Math.ceil(middle) - 1, Math.floor(middle) + 1);
  return around.reduce((sum, value) => sum + value, 0) / around.length;
}
