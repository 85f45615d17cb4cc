import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const folder = join(import.meta.dir, "../../ffi/tests/fixtures/archive-v1");
const [name = ""] = readdirSync(folder).filter((file) => file.endsWith(".tar.gz"));
const archive = join(folder, name);
const isCi = process.env["CI"] === "true";

const pythonProgram = `
import json, sys, tarfile
with tarfile.open(sys.argv[1], "r:gz") as tar:
    print(json.dumps({m.name: len(tar.extractfile(m).read()) for m in tar}))
`;

function output(command: readonly string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command], {
    env: { ...process.env, GOFLAGS: "-mod=mod", GO111MODULE: "off" },
  });
  expect(exitCode, `${command[0]}: ${stderr}`).toBe(0);
  return stdout.toString();
}

/** Names and sizes as GNU tar tells them, and that each member reads to its end. */
function byTar(): Record<string, number> {
  const lines = output(["tar", "tzvf", archive]).trim().split("\n");
  output(["tar", "xzOf", archive]);
  return Object.fromEntries(
    lines.map((line) => {
      const fields = line.split(/\s+/);
      return [fields[5] ?? "", Number(fields[2])];
    }),
  );
}

test("an archive begins with its manifest and holds batches, index and table of contents", () => {
  const names = Object.keys(byTar());
  expect(names[0]).toBe("manifest.json");
  expect(names[1]).toBe("batches");
  expect(names.at(-1)).toBe("toc.json");
  expect(names.slice(2, -1).every((file) => file.startsWith("index/"))).toBe(true);
  expect(names.length).toBeGreaterThan(4);
});

test.skipIf(!isCi && Bun.which("python3") === null)("Python's tarfile reads the same", () => {
  expect(JSON.parse(output(["python3", "-c", pythonProgram, archive]))).toEqual(byTar());
});

test.skipIf(!isCi && Bun.which("go") === null)(
  "Go's archive/tar reads the same",
  () => {
    const program = join(import.meta.dir, "go/list-archive.go");
    expect(JSON.parse(output(["go", "run", program, archive]))).toEqual(byTar());
  },
  120_000,
);
