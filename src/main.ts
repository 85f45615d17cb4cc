import { hostname } from "node:os";
import { exitCodeOf } from "./cli/exit-codes.ts";
import { parseCommandLine } from "./cli/parse.ts";
import { BrokerError } from "./lib/errors.ts";
import { openLibrary } from "./native/library.ts";

// Provisional: replaced when the broker is put together.
try {
  const parsed = parseCommandLine(process.argv.slice(2), {
    environment: process.env,
    folder: process.cwd(),
    hostname: hostname(),
  });
  if (parsed.kind === "print") process.stdout.write(parsed.text);
  if (parsed.kind === "broker") {
    const { dataDir } = parsed.loaded.config;
    process.stdout.write(`loaded ${openLibrary({ dataDir, expectedAbi: 1 }).path}\n`);
  }
} catch (error) {
  if (!(error instanceof BrokerError)) throw error;
  process.stderr.write(`chronik: ${error.message} [${error.code}]\n`);
  process.exitCode = exitCodeOf(error);
}
