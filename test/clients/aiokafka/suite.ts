import { join } from "node:path";
import { programSuite } from "../program-suite.ts";
import { pinnedPythonVersion, preparePython } from "../pytest.ts";
import { pythonBin } from "../setup.ts";

/** No version of aiokafka's source package holds its tests. */
export const aiokafka = programSuite({
  name: "aiokafka",
  client: "aiokafka",
  version: pinnedPythonVersion("aiokafka"),
  command: () => [pythonBin, join(import.meta.dir, "program.py")],
  prepare: preparePython,
});
