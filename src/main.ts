import { BrokerError } from "./lib/errors.ts";
import { openLibrary } from "./native/library.ts";

// Provisional: replaced when the broker is put together.
try {
  const library = openLibrary({ dataDir: process.argv[2] ?? "data", expectedAbi: 1 });
  process.stdout.write(`loaded ${library.path}\n`);
} catch (error) {
  if (!(error instanceof BrokerError)) throw error;
  process.stderr.write(`${error.code} ${error.message}\n`);
  process.exitCode = 1;
}
