import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { glibcNeeded } from "../../scripts/compile.ts";
import { libraryPath } from "../../scripts/support.ts";
import { executable, root, run, tempFolder } from "./run.ts";

const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

describe("one file", () => {
  test("runs from any folder", () => {
    using folder = tempFolder();
    const { code, stdout } = run([executable, "version"], { cwd: folder.path });
    expect(code).toBe(0);
    expect(stdout).toStartWith(`chronik ${version} (bun 1.4.5, linux-x64)`);
  });
  test("knows nothing of the folder it was built in", () => {
    const bytes = readFileSync(executable);
    expect(bytes.includes(`${root}/src/`)).toBe(false);
    expect(bytes.includes(`${root}/scripts/`)).toBe(false);
  });
  test("leaves nothing in the temporary folder, and needs none", () => {
    using folder = tempFolder();
    const missing = join(folder.path, "absent");
    const { code } = run([executable, "version"], { env: { TMPDIR: missing } });
    expect(code).toBe(0);
    expect(existsSync(missing)).toBe(false);
  });
});

describe("a folder cannot make the broker that is started in it run code (design D17)", () => {
  test("bunfig.toml, .env, tsconfig.json and package.json are not read", () => {
    using folder = tempFolder();
    const marker = join(folder.path, "marker");
    const write = (name: string, text: string) => writeFileSync(join(folder.path, name), text);
    write("evil.ts", `require("node:fs").writeFileSync(${JSON.stringify(marker)}, "ran");`);
    write("bunfig.toml", 'preload = ["./evil.ts"]\n[run]\npreload = ["./evil.ts"]\n');
    write(".env", "CHRONIK_NODE_ID=77\n");
    write(".env.local", "CHRONIK_NODE_ID=78\n");
    write(".env.production", "CHRONIK_NODE_ID=79\n");
    write("tsconfig.json", '{"compilerOptions":{"paths":{"*":["./evil.ts"]}}}');
    write("package.json", '{"name":"evil","main":"./evil.ts","imports":{"#x":"./evil.ts"}}');
    const { code, stdout } = run([executable, "config"], { cwd: folder.path });
    expect(code).toBe(0);
    expect(existsSync(marker)).toBe(false);
    expect(stdout).toContain("\nnode.id = 1\n");
  });
  test("the same files do work for Bun itself, so the test above can fail", () => {
    using folder = tempFolder();
    const marker = join(folder.path, "marker");
    writeFileSync(join(folder.path, "evil.ts"), `await Bun.write(${JSON.stringify(marker)}, "1");`);
    writeFileSync(join(folder.path, "bunfig.toml"), 'preload = ["./evil.ts"]\n');
    writeFileSync(join(folder.path, ".env"), "CHRONIK_NODE_ID=77\n");
    writeFileSync(join(folder.path, "main.ts"), "console.log(process.env.CHRONIK_NODE_ID);");
    const { stdout } = run([process.execPath, "main.ts"], { cwd: folder.path });
    expect(stdout.trim()).toBe("77");
    expect(existsSync(marker)).toBe(true);
  });
  // Whoever sets the environment of a process may run code in it anyway; documented, not prevented.
  test("BUN_BE_BUN turns the executable into plain Bun", () => {
    const { stdout } = run([executable, "--version"], { env: { BUN_BE_BUN: "1" } });
    expect(stdout.trim()).toBe("1.4.5");
    const without = run([executable, "--version"], { env: { BUN_BE_BUN: "" } });
    expect(without.stdout).toStartWith(`chronik ${version}`);
  });
});

describe("mistakes end with one line and their exit code", () => {
  function refusal(code: number, ...given: string[]): string {
    using folder = tempFolder();
    const ended = run([executable, ...given], { cwd: folder.path });
    expect({ code: ended.code, stdout: ended.stdout }).toEqual({ code, stdout: "" });
    expect(ended.stderr).not.toMatch(/^\s+at /m);
    return ended.stderr;
  }
  test("unknown flag, key and verb", () => {
    for (const given of [
      ["--dataDir", "x"],
      ["-X", "nod.id=1"],
      ["serve"],
      ["bench", "--acks=7"],
    ]) {
      expect(
        refusal(2, ...given)
          .trimEnd()
          .split("\n"),
      ).toHaveLength(1);
    }
  });
  test("a wildcard without an advertised address", () => {
    const text = refusal(2, "--bind", "0.0.0.0:9092");
    expect(text).toContain("--bind 0.0.0.0:9092");
    expect(text).toContain("--advertised-addr ");
  });
  test("a data directory that cannot be written", () => {
    using folder = tempFolder();
    const file = join(folder.path, "file");
    writeFileSync(file, "");
    const text = refusal(12, "--data-dir", join(file, "data"), "--bind", "127.0.0.1:0");
    expect(text).toContain(join(file, "data"));
    expect(text).toContain("--data-dir");
  });
});

test("the libc it asks for is the one its loader would ask for", () => {
  const library = libraryPath("release");
  const { stdout, code } = run(["objdump", "-T", library]);
  expect(code).toBe(0);
  const asked = [...stdout.matchAll(/GLIBC_(\d+)\.(\d+)/g)].map(([, major, minor]) => ({
    text: `${major}.${minor}`,
    rank: Number(major) * 1000 + Number(minor),
  }));
  const newest = asked.reduce((left, right) => (right.rank > left.rank ? right : left));
  expect(glibcNeeded(readFileSync(library))).toBe(newest.text);
  // Debian 12, the oldest system promised, has 2.36.
  expect(newest.rank).toBeLessThanOrEqual(2036);
});

test("it is not much larger than Bun and the library together", () => {
  const parts = statSync(process.execPath).size + statSync(libraryPath("release")).size;
  expect(statSync(executable).size).toBeLessThan(parts + 8 * 1024 * 1024);
});
