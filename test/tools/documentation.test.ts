import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { ensureToolchain, javaClassPath, javaLogConfig } from "../clients/setup.ts";
import { brokerBin, brokerExists, until } from "../support/broker-process.ts";

const root = join(import.meta.dir, "../..");
const toolClasses = {
  "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
  "kafka-console-producer.sh": "org.apache.kafka.tools.ConsoleProducer",
  "kafka-console-consumer.sh": "org.apache.kafka.tools.consumer.ConsoleConsumer",
};

/** Commands of the fenced shell blocks below a heading of a page, without their remarks. */
function commands(page: string, heading: string): string[] {
  const text = readFileSync(join(root, page), "utf8");
  const section = text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? "";
  return [...section.matchAll(/```sh\n([\s\S]*?)```/g)]
    .flatMap(([, block]) => (block ?? "").split("\n"))
    .map((line) => line.replace(/\s+#.*$/, "").trim())
    .filter((line) => line !== "");
}

const java = await ensureToolchain("java");
const ready = brokerExists && java.status === "ready";

/** The documents' commands word for word, in a folder of their own with `dist/chronik` in it and
 * Kafka's scripts on the path. */
describe.skipIf(!ready && process.env["CI"] !== "true")("documentation", () => {
  const folder = mkdtempSync(join(tmpdir(), "chronik-docs-"));
  const bin = join(folder, "bin");
  let broker: Bun.Subprocess | undefined;

  const shell = (command: string) =>
    Bun.spawnSync(["bash", "-c", `set -o pipefail; ${command}`], {
      cwd: folder,
      env: { ...process.env, PATH: `${bin}${delimiter}${process.env["PATH"]}` },
    });

  beforeAll(async () => {
    mkdirSync(bin);
    mkdirSync(join(folder, "dist"));
    for (const [name, main] of Object.entries(toolClasses)) {
      const java = `java -Dlog4j2.configurationFile='${javaLogConfig}' -cp '${javaClassPath}'`;
      writeFileSync(join(bin, name), `#!/bin/sh\nexec ${java} ${main} "$@"\n`);
      chmodSync(join(bin, name), 0o755);
    }
    for (const path of [join(bin, "chronik"), join(folder, "dist", "chronik")]) {
      writeFileSync(path, `#!/bin/sh\nexec '${brokerBin}' "$@"\n`);
      chmodSync(path, 0o755);
    }
    const [start] = commands("README.md", "Quick start");
    expect(start).toBe("dist/chronik standalone");
    broker = Bun.spawn([brokerBin, "standalone"], {
      cwd: folder,
      stdout: "ignore",
      stderr: "ignore",
    });
    await until("the broker is ready on the documented ports", 15_000, async () => {
      const answer = await fetch("http://localhost:6092/readyz").catch(() => null);
      return answer?.status === 200;
    });
  }, 60_000);

  afterAll(async () => {
    broker?.kill("SIGTERM");
    await broker?.exited;
    rmSync(folder, { recursive: true, force: true });
  });

  test("the quick start, then the admin requests and tar of operations.md", async () => {
    const [, ...lines] = commands("README.md", "Quick start");
    expect(lines).toHaveLength(4);
    const outputs = lines.map((line) => {
      const { exitCode, stdout, stderr } = shell(line);
      expect(exitCode, `${line}\n${stderr}`).toBe(0);
      return stdout.toString();
    });
    expect(outputs[0]).toContain("Created topic hello.");
    expect(outputs[2]).toBe("hello, log\n");
    expect(JSON.parse(outputs[3] ?? "")).toHaveProperty("totals.records_indexed");
    // Tests come in any order, and what follows needs the quick start's record.
    await everyAdminRequestAnswers();
  }, 120_000);

  async function everyAdminRequestAnswers(): Promise<void> {
    const run = () => fetch("http://localhost:6092/admin/indexer/run", { method: "POST" });
    await until(
      "the quick start's record is archived",
      30_000,
      async () => {
        await (await run()).arrayBuffer();
        const found = await fetch("http://localhost:6092/admin/segments?topic=hello");
        return ((await found.json()) as { segments: unknown[] }).segments.length > 0;
      },
      500,
    );
    const lines = [
      ...commands("docs/operations.md", "Admin API"),
      ...commands("docs/operations.md", "Archives"),
    ];
    expect(lines.length).toBeGreaterThan(6);
    for (const line of lines) {
      const { exitCode, stdout, stderr } = shell(
        line.replace(/^curl /, "curl --fail --silent --show-error "),
      );
      expect(exitCode, `${line}\n${stderr}`).toBe(0);
      expect(stdout.length, line).toBeGreaterThan(0);
    }
  }

  test("operations: the benchmark runs and validates", () => {
    const [line = ""] = commands("docs/operations.md", "Benchmark");
    expect(line).toContain("--validate");
    const { exitCode, stdout } = shell(line.replace("--duration 30", "--duration 2"));
    expect(exitCode, stdout.toString()).toBe(0);
    expect(stdout.toString()).toContain("validation   ok");
  }, 60_000);

  test("every page the README names exists", () => {
    const names = readFileSync(join(root, "README.md"), "utf8").matchAll(/\]\(([\w./-]+)[)#]/g);
    for (const [, name = ""] of names) {
      expect(Bun.file(join(root, dirname("README.md"), name)).size, name).toBeGreaterThan(0);
    }
  });
});
