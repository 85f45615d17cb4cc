import { join } from "node:path";
import { npmPackagesDir, npmPins, prepareNpm } from "../node/packages.ts";
import { programSuite } from "../program-suite.ts";

export const kafkajs = programSuite({
  name: "kafkajs",
  client: "kafkajs",
  version: npmPins.kafkajs,
  env: { PACKAGES: npmPackagesDir },
  command: () => ["node", join(import.meta.dir, "program.mjs")],
  prepare: prepareNpm,
});
