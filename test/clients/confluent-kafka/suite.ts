import { join } from "node:path";
import { programSuite } from "../program-suite.ts";
import { pinnedPythonVersion, preparePython } from "../pytest.ts";
import { pythonBin } from "../setup.ts";

/** The source package holds no tests; librdkafka's own are the suite `librdkafka`. */
export const confluentKafka = programSuite({
  name: "confluent-kafka",
  client: "confluent-kafka",
  version: pinnedPythonVersion("confluent-kafka"),
  command: () => [pythonBin, join(import.meta.dir, "program.py")],
  prepare: preparePython,
});
