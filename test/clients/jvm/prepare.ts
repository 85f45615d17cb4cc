import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, relative, resolve } from "node:path";
import { cacheDir } from "../setup.ts";

/**
 * What the JVM suites need: one set of jars for all (Kafka 4.3.1 with the jars that hold its
 * tests), from Maven Central, and each suite's own classes. Kept in `.cache/clients` until a pin
 * or a source changes.
 */

const here = import.meta.dir;

export interface JvmParts {
  /** Suite folder below `test/clients/`; its `java/` holds the sources. */
  readonly name: string;
  /** Further suites whose classes it uses, behind its own. */
  readonly uses?: readonly string[];
  /** Which pom names the jars: `jvm/pom.xml`, or the older release's. */
  readonly pom?: string;
}

function libDir(pom: string): string {
  return join(cacheDir, "jvm", pom.replace(/\.xml$/, ""));
}

function classesDir(suite: string): string {
  return join(cacheDir, "jvm", `${suite}-classes`);
}

/** Own classes first: one of them stands in for a class of the same name in a jar. */
export function jvmClassPath({ name, uses = [], pom = "pom.xml" }: JvmParts): string {
  return [...[name, ...uses].map(classesDir), `${libDir(pom)}/*`].join(":");
}

async function run(command: readonly string[]): Promise<void> {
  const child = Bun.spawn([...command], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const output = Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) === 0) return;
  const tail = (await output).join("\n").slice(-3000);
  throw new Error(`${command.join(" ")} exited with ${child.exitCode}:\n${tail}`);
}

/** Everything below `java/` of a suite: sources, and files that are only copied. */
function filesOf(suite: string): string[] {
  const folder = resolve(here, "..", suite, "java");
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Runs `make` unless the stamp says that it ran for these very files. */
async function once(stamp: string, files: readonly string[], make: () => Promise<void>) {
  const hasher = new Bun.CryptoHasher("sha256");
  for (const file of files) hasher.update(readFileSync(file));
  const wanted = hasher.digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  await make();
  writeFileSync(stamp, wanted);
}

let previous: Promise<unknown> = Promise.resolve();

/** The reason when a toolchain is missing; suites prepare one after the other. */
export function prepareJvm(parts: JvmParts): Promise<string | null> {
  const prepared = previous.then(() => prepare(parts));
  previous = prepared.catch(() => undefined);
  return prepared;
}

async function prepare({ name, uses = [], pom = "pom.xml" }: JvmParts): Promise<string | null> {
  const missing = ["java", "javac", "mvn"].filter((program) => Bun.which(program) === null);
  if (missing.length > 0) return `${missing.join(", ")} not on the PATH`;
  const [lib, pomPath] = [libDir(pom), join(here, pom)];
  mkdirSync(join(cacheDir, "jvm"), { recursive: true });
  await once(`${lib}.stamp`, [pomPath], async () => {
    rmSync(lib, { recursive: true, force: true });
    const goal = ["dependency:copy-dependencies", `-DoutputDirectory=${lib}`];
    await run(["mvn", "-B", "-q", "-f", pomPath, ...goal, "-DincludeScope=runtime"]);
  });
  for (const used of uses) await compile(used, [], lib, pomPath);
  await compile(name, uses, lib, pomPath);
  return null;
}

async function compile(suite: string, uses: readonly string[], lib: string, pomPath: string) {
  const classes = classesDir(suite);
  const files = filesOf(suite);
  const ofOthers = uses.flatMap(filesOf);
  await once(`${classes}.stamp`, [pomPath, ...ofOthers, ...files], async () => {
    rmSync(classes, { recursive: true, force: true });
    mkdirSync(classes, { recursive: true });
    const sources = files.filter((file) => file.endsWith(".java"));
    if (sources.length > 0) {
      const path = [...uses.map(classesDir), `${lib}/*`].join(":");
      await run(["javac", "-nowarn", "-cp", path, "-d", classes, ...sources]);
    }
    const folder = resolve(here, "..", suite, "java");
    for (const file of files.filter((each) => !each.endsWith(".java"))) {
      cpSync(file, join(classes, relative(folder, file)));
    }
  });
}
