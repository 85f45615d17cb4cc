import { join } from "node:path";
import { programSuite } from "../program-suite.ts";
import { missingPrograms } from "../setup.ts";

export const kcat = programSuite({
  name: "kcat",
  client: "kcat (Debian, librdkafka 2.0.2)",
  version: "1.7.1",
  command: () => [process.execPath, join(import.meta.dir, "program.ts")],
  prepare: async () => missingPrograms(["kcat"]),
});
