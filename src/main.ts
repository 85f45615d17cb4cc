import { hostname } from "node:os";
import { formatReport } from "./bench/report.ts";
import { runBench } from "./bench/run.ts";
import { Broker } from "./broker.ts";
import { runRestore } from "./broker-restore.ts";
import { runStoreCheck } from "./broker-store-check.ts";
import { runSegmentVerify } from "./broker-verify.ts";
import type { BenchOptions } from "./cli/bench-options.ts";
import { exitCodeOf, exitCodes } from "./cli/exit-codes.ts";
import { type ParsedCommand, parseCommandLine } from "./cli/parse.ts";
import type { RestoreOptions } from "./cli/restore-options.ts";
import type { VerifyOptions } from "./cli/segment-options.ts";
import type { LoadedConfig } from "./config.ts";
import { systemClock } from "./lib/clock.ts";
import { BrokerError, errorText } from "./lib/errors.ts";
import { crc32c } from "./protocol/crc32c.ts";
import { LogRoot, parseLevels, stderrSink } from "./telemetry/logger.ts";
import { Metrics } from "./telemetry/metrics.ts";

/** Argv → broker, bench or text; the only place that ends the process. */
async function main(): Promise<void> {
  try {
    const parsed = parseCommandLine(process.argv.slice(2), {
      environment: process.env,
      folder: process.cwd(),
      hostname: hostname(),
    });
    await run(parsed);
  } catch (error) {
    fail(error);
  }
}

async function run(parsed: ParsedCommand): Promise<void> {
  switch (parsed.kind) {
    case "print":
      process.stdout.write(parsed.text);
      return;
    case "broker":
      await serve(parsed.mode, parsed.loaded);
      return;
    case "bench":
      await bench(parsed.options);
      return;
    case "store-check":
      await storeCheck(parsed.loaded);
      return;
    case "segment-verify":
      await segmentVerify(parsed.loaded, parsed.options);
      return;
    case "restore":
      await restore(parsed.loaded, parsed.options);
      return;
  }
}

async function serve(mode: "standalone" | "all", loaded: LoadedConfig): Promise<void> {
  const { level, format } = loaded.config.logging;
  const root = new LogRoot({
    clock: systemClock,
    sink: stderrSink(),
    levels: parseLevels(level),
    format,
  });
  const logger = root.logger("broker");
  for (const warning of loaded.warnings) logger.warn(warning);
  if (mode === "all") {
    logger.info("mode all: the WAL indexer is the only optional service in this release", {
      wal_indexing: loaded.config.indexer.enableWalIndexing,
    });
  }
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);
  const stop = stopSignal();
  const starting = Broker.start({
    loaded,
    clock: systemClock,
    logger,
    metrics: new Metrics(),
  });
  const broker = await starting;
  logger.info("stopping on signal", { signal: await stop });
  await broker.stop();
  process.exit(exitCodes.ok);
}

async function bench(options: BenchOptions): Promise<void> {
  const report = await runBench(options, { clock: systemClock, crc: crc32c });
  process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : formatReport(report));
  process.exit(report.ok ? exitCodes.ok : exitCodes.failed);
}

async function storeCheck({ config }: LoadedConfig): Promise<void> {
  const sink = stderrSink();
  const levels = parseLevels("error");
  const root = new LogRoot({ clock: systemClock, sink, levels, format: config.logging.format });
  const ok = await runStoreCheck({
    config,
    clock: systemClock,
    logger: root.logger("store"),
    print: (line) => process.stdout.write(`${line}\n`),
  });
  process.exit(ok ? exitCodes.ok : exitCodes.failed);
}

async function segmentVerify({ config }: LoadedConfig, options: VerifyOptions): Promise<void> {
  const sink = stderrSink();
  const levels = parseLevels("error");
  const root = new LogRoot({ clock: systemClock, sink, levels, format: config.logging.format });
  const result = await runSegmentVerify({
    config,
    clock: systemClock,
    logger: root.logger("integrity"),
    options,
    print: (line) => process.stdout.write(`${line}\n`),
  });
  const codes = { sound: "ok", damaged: "damaged", unchecked: "failed" } as const;
  process.exit(exitCodes[codes[result]]);
}

async function restore({ config }: LoadedConfig, options: RestoreOptions): Promise<void> {
  const sink = stderrSink();
  const levels = parseLevels("error");
  const root = new LogRoot({ clock: systemClock, sink, levels, format: config.logging.format });
  await runRestore({
    config,
    clock: systemClock,
    logger: root.logger("restore"),
    ...options,
    print: (line) => process.stdout.write(`${line}\n`),
  });
  process.exit(exitCodes.ok);
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. */
function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    let asked = false;
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.on(signal, () => {
        if (asked) process.exit(signal === "SIGINT" ? 130 : 143);
        asked = true;
        resolve(signal);
      });
    }
  });
}

/** One line that says what to do; a bug shows its stack too. Nothing more is written. */
function fail(error: unknown): never {
  if (error instanceof BrokerError) {
    process.stderr.write(`chronik: ${error.message} [${error.code}]\n`);
  } else {
    const stack = error instanceof Error ? error.stack : undefined;
    process.stderr.write(`chronik: bug: ${stack ?? errorText(error)}\n`);
  }
  process.exit(exitCodeOf(error));
}

await main();
