import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheDir, installOnce, missingPrograms, run } from "../setup.ts";

/** npm packages that are not the project's own dependencies: pinned here, kept in the cache. */

export const npmPins = {
  "@confluentinc/kafka-javascript": "1.10.1",
  "@platformatic/kafka": "1.35.0", // the newest for Node 20
  kafkajs: "2.2.4",
} as const;
export type NpmPackage = keyof typeof npmPins;

/** Brings a package's published archive and unpacks it; the folder that holds it. */
export async function unpackNpm(name: NpmPackage, into: string): Promise<string> {
  const folder = join(cacheDir, into);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await run(["npm", "pack", "--silent", `${name}@${npmPins[name]}`], folder);
  const archive = readdirSync(folder).find((file) => file.endsWith(".tgz"));
  if (archive === undefined) throw new Error(`npm brought no archive of ${name}`);
  await run(["tar", "xzf", archive], folder);
  const unpacked = join(folder, "package");
  if (!existsSync(unpacked)) throw new Error(`${archive} holds no folder named package`);
  return unpacked;
}

/** Where the packages are installed; programs find it in the variable PACKAGES. */
export const npmPackagesDir: string = join(cacheDir, "npm");

/** Installs all of them, without running their scripts; the reason when there is no Node. */
export async function prepareNpm(): Promise<string | null> {
  const missing = missingPrograms(["node", "npm"]);
  if (missing !== null) return missing;
  const pins = Object.entries(npmPins).map(([name, version]) => `${name}@${version}`);
  await installOnce("npm", pins.join(" "), async () => {
    rmSync(npmPackagesDir, { recursive: true, force: true });
    mkdirSync(npmPackagesDir, { recursive: true });
    writeFileSync(join(npmPackagesDir, "package.json"), '{"private":true}\n');
    const quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
    await run(["npm", "install", ...quiet, ...pins], npmPackagesDir);
  });
  return null;
}
