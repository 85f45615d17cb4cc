import { join } from "node:path";
import { npmPackagesDir, npmPins, prepareNpm } from "../node/packages.ts";
import { programSuite } from "../program-suite.ts";

export const platformatic = programSuite({
  name: "platformatic",
  client: "@platformatic/kafka",
  version: npmPins["@platformatic/kafka"],
  env: { PACKAGES: npmPackagesDir },
  command: () => ["node", join(import.meta.dir, "program.mjs")],
  prepare: prepareNpm,
});
