import { BrokerError } from "../../src/lib/errors.ts";
import { openLibrary } from "../../src/native/library.ts";

// A small program that carries a library: prints where it was loaded from, or why it was not.
const [dataDir = null, abi = "7"] = process.argv.slice(2);
try {
  const { path } = openLibrary({ dataDir: dataDir || null, expectedAbi: Number(abi) });
  process.stdout.write(path);
} catch (error) {
  if (!(error instanceof BrokerError)) throw error;
  process.stderr.write(`${error.code} ${error.message}`);
  process.exitCode = 1;
}
