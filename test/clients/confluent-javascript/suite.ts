import { realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { librdkafka, librdkafkaDir } from "../librdkafka/suite.ts";
import { npmPackagesDir, npmPins, prepareNpm } from "../node/packages.ts";
import { programSuite } from "../program-suite.ts";
import { installOnce, missingPrograms, run } from "../setup.ts";

const packageName = "@confluentinc/kafka-javascript";
const version = npmPins[packageName];

/** Compiles the binding against the librdkafka that its own package holds. */
async function prepare(): Promise<string | null> {
  const missing = missingPrograms(["g++", "make", "python3"]) ?? (await prepareNpm());
  if (missing !== null) return missing;
  const reason = await librdkafka.prepare();
  if (reason !== null) return reason;
  const npm = dirname(dirname(realpathSync(Bun.which("npm") ?? "npm")));
  const gyp = join(npm, "node_modules/node-gyp/bin/node-gyp.js");
  const node = dirname(dirname(realpathSync(Bun.which("node") ?? "node"))); // with its headers
  await installOnce("confluent-javascript", `${version} ${npmPackagesDir}`, async () => {
    const libraries = [join(librdkafkaDir, "src"), join(librdkafkaDir, "src-cpp")];
    const env = [
      "BUILD_LIBRDKAFKA=0",
      `CXXFLAGS=${libraries.map((path) => `-I${path}`).join(" ")}`,
      `LDFLAGS=${libraries.map((path) => `-L${path} -Wl,-rpath,${path}`).join(" ")}`,
    ];
    const build = ["node", gyp, "rebuild", `--nodedir=${node}`, "-j", "2"];
    await run(["env", ...env, ...build], join(npmPackagesDir, "node_modules", packageName));
  });
  return null;
}

export const confluentJavascript = programSuite({
  name: "confluent-javascript",
  client: packageName,
  version,
  env: { PACKAGES: npmPackagesDir },
  command: () => ["node", join(import.meta.dir, "program.mjs")],
  prepare,
});
