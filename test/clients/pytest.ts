import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ensureToolchain, pythonBin } from "./setup.ts";
import type { RunTest } from "./suite.ts";

/** Runs Python tests with pytest out of the clients' virtual environment. */

const requirements = join(import.meta.dir, "python/requirements.txt");

/** The version `python/requirements.txt` pins. */
export function pinnedPythonVersion(name: string): string {
  const lines = readFileSync(requirements, "utf8").split("\n");
  const version = lines.find((line) => line.startsWith(`${name}==`))?.split("==")[1];
  if (version === undefined) throw new Error(`requirements.txt does not pin ${name}`);
  return version;
}

/** The virtual environment with every pinned package; the reason when there is no Python. */
export async function preparePython(): Promise<string | null> {
  const result = await ensureToolchain("python");
  return result.status === "skipped" ? result.reason : null;
}

export interface PytestRun {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Files, node ids, further flags. */
  readonly args: readonly string[];
  /** Where the report goes; an empty folder. */
  readonly scratchDir: string;
  readonly timeoutMs: number;
}

export async function runPytest(run: PytestRun): Promise<RunTest[]> {
  const report = join(run.scratchDir, "pytest.xml");
  const flags = ["-q", "-p", "no:cacheprovider", "--tb=short", `--junitxml=${report}`];
  const child = Bun.spawn([pythonBin, "-m", "pytest", ...flags, ...run.args], {
    cwd: run.cwd,
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1", ...run.env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: run.timeoutMs,
  });
  const [output, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.exited;
  const xml = await Bun.file(report)
    .text()
    .catch(() => "");
  if (xml === "") throw new Error(`pytest ended with ${child.exitCode}: ${output}${errors}`);
  return parseJunit(xml);
}

const entities: Readonly<Record<string, string>> = {
  "&lt;": "<",
  "&gt;": ">",
  "&quot;": '"',
  "&apos;": "'",
  "&#10;": "\n",
  "&amp;": "&",
};

function unescapeXml(text: string): string {
  return text.replace(/&(lt|gt|quot|apos|#10|amp);/g, (entity) => entities[entity] ?? entity);
}

/** Reads a JUnit report: `file.py::name` for each test. */
export function parseJunit(xml: string): RunTest[] {
  const cases = xml.matchAll(/<testcase ([^>]*?)(?:\/>|>(.*?)<\/testcase>)/gs);
  return Array.from(cases, ([, attributes = "", body = ""]): RunTest => {
    const attribute = (name: string) =>
      unescapeXml(new RegExp(`(?:^| )${name}="([^"]*)"`).exec(attributes)?.[1] ?? "");
    const name = `${attribute("classname").split(".").at(-1)}::${attribute("name")}`;
    const found = /<(failure|error|skipped)([^>]*)>?/.exec(body);
    if (found === null) return { name, outcome: "passed" };
    const message = unescapeXml(/message="([^"]*)"/.exec(found[2] ?? "")?.[1] ?? "");
    const detail = `${message}\n${unescapeXml(body.replace(/<[^>]*>/g, "")).slice(-400)}`;
    return { name, outcome: found[1] === "skipped" ? "skipped" : "failed", detail };
  });
}
