import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

/**
 * Brings the client libraries of each language from its package registry into
 * `.cache/clients`, once for each change of what is pinned. A language whose toolchain is
 * missing is skipped with its reason; with CI=true its tests fail.
 *
 * `bun test/clients/setup.ts [java|python|go ...]` prints one JSON line a language.
 */

export type Toolchain = "java" | "python" | "go" | "node";
export type SetupResult =
  | { readonly status: "ready" }
  | { readonly status: "skipped"; readonly reason: string };

const here = import.meta.dir;
export const cacheDir: string = resolve(here, "../../.cache/clients");
export const javaClassPath: string = `${cacheDir}/java/classes:${cacheDir}/java/lib/*`;
export const pythonBin: string = join(cacheDir, "python/bin/python");
export const goBinDir: string = join(cacheDir, "go");
export const javaLogConfig: string = join(here, "java/log4j2.yaml");
const isCi = process.env["CI"] === "true";

interface Recipe {
  /** Programs that must be on the PATH. */
  readonly needs: readonly string[];
  /** Files whose contents, together, name this install. */
  readonly inputs: readonly string[];
  install(): Promise<void>;
}

function filesIn(folder: string, ending: string): string[] {
  const names = readdirSync(join(here, folder), { recursive: true }).map(String);
  return names
    .filter((name) => name.endsWith(ending))
    .sort()
    .map((name) => join(folder, name));
}

/** Runs a command to its end; its standard output. Any other exit code than 0 throws. */
export async function run(command: readonly string[], cwd = here): Promise<string> {
  const child = Bun.spawn([...command], { cwd, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const output = Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) === 0) return (await output)[0];
  const tail = (await output).join("\n").slice(-3000);
  throw new Error(`${command.join(" ")} exited with ${child.exitCode}:\n${tail}`);
}

const recipes: Record<Exclude<Toolchain, "node">, Recipe> = {
  java: {
    needs: ["java", "javac", "mvn"],
    inputs: ["java/pom.xml", ...filesIn("java", ".java")],
    async install() {
      const [lib, classes] = [join(cacheDir, "java/lib"), join(cacheDir, "java/classes")];
      const copy = ["-B", "-q", "dependency:copy-dependencies", `-DoutputDirectory=${lib}`];
      await run(["mvn", "-f", join(here, "java/pom.xml"), ...copy, "-DincludeScope=runtime"]);
      const sources = filesIn("java", ".java");
      await run(["javac", "-nowarn", "-cp", `${lib}/*`, "-d", classes, ...sources]);
    },
  },
  python: {
    needs: ["python3"],
    inputs: ["python/requirements.txt"],
    async install() {
      await run(["python3", "-m", "venv", "--clear", join(cacheDir, "python")]);
      const pip = [pythonBin, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
      await run([...pip, "--no-deps", "-r", join(here, "python/requirements.txt")]);
    },
  },
  go: {
    needs: ["go"],
    inputs: ["go/go.mod", "go/go.sum", ...filesIn("go", ".go")],
    async install() {
      mkdirSync(goBinDir, { recursive: true });
      await run(["go", "build", "-o", `${goBinDir}/`, "./franz", "./sarama"], join(here, "go"));
    },
  },
};

function fingerprint(inputs: readonly string[]): string {
  const hasher = new Bun.CryptoHasher("sha256");
  for (const input of inputs) hasher.update(readFileSync(join(here, input)));
  return hasher.digest("hex");
}

const running = new Map<Toolchain, Promise<SetupResult>>();

/** Installs what the clients of one language need; later calls share the first one's result. */
export function ensureToolchain(toolchain: Toolchain): Promise<SetupResult> {
  const known = running.get(toolchain);
  if (known !== undefined) return known;
  const result = install(toolchain);
  running.set(toolchain, result);
  return result;
}

async function install(toolchain: Toolchain): Promise<SetupResult> {
  if (toolchain === "node") return { status: "ready" }; // kafkajs is a development dependency
  const recipe = recipes[toolchain];
  const reason = missingPrograms(recipe.needs);
  if (reason !== null) return { status: "skipped", reason };
  await installOnce(toolchain, fingerprint(recipe.inputs), () => recipe.install());
  return { status: "ready" };
}

/** Which of these programs the PATH lacks, as a sentence; null when none. */
export function missingPrograms(needs: readonly string[]): string | null {
  const missing = needs.filter((program) => Bun.which(program) === null);
  return missing.length === 0 ? null : `${missing.join(", ")} not on the PATH`;
}

/** Installs something below `cacheDir` unless the same was installed before: `wanted` names it. */
export async function installOnce(
  name: string,
  wanted: string,
  install: () => Promise<void>,
): Promise<void> {
  const stamp = join(cacheDir, `${name}.stamp`);
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  mkdirSync(cacheDir, { recursive: true });
  await install();
  writeFileSync(stamp, wanted);
}

if (import.meta.main) {
  const asked = process.argv.slice(2) as Toolchain[];
  let failed = false;
  for (const toolchain of asked.length > 0 ? asked : (["java", "python", "go"] as const)) {
    const startedMs = performance.now();
    const result = await ensureToolchain(toolchain).catch((error: unknown) => {
      failed = true;
      return { status: "failed", reason: String(error) };
    });
    failed ||= isCi && result.status === "skipped";
    console.log(
      JSON.stringify({ toolchain, ...result, ms: Math.round(performance.now() - startedMs) }),
    );
  }
  process.exit(failed ? 1 : 0);
}
