import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compile, sha256 } from "../../scripts/compile.ts";
import { compileStub } from "../native/stub.ts";
import { type Ended, mayMount, run, tempFolder } from "./run.ts";

const folder = tempFolder();
const program = join(folder.path, "program");
let hash = "";
beforeAll(async () => {
  const library = compileStub(folder.path, "libchronik", "ABI=7");
  hash = sha256(readFileSync(library));
  const entry = join(import.meta.dir, "carried.fixture.ts");
  await compile({ library, outfile: program, entry });
});
afterAll(() => folder[Symbol.dispose]());

const start = (dataDir: string, env: Record<string, string> = {}): Ended =>
  run([program, dataDir], { env, cwd: folder.path });

describe("a library that travels inside the executable (design D14)", () => {
  test("is written below the data directory and loaded from there", () => {
    using data = tempFolder();
    const { code, stdout, stderr } = start(data.path);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toBe(join(data.path, "lib", `${hash}.so`));
    expect(statSync(stdout).mode & 0o777).toBe(0o700);
  });
  test("is hashed at every start: a changed file is replaced, not loaded", () => {
    using data = tempFolder();
    const { stdout: path } = start(data.path);
    const good = readFileSync(path);
    const { ino } = statSync(path);
    start(data.path);
    expect(statSync(path).ino).toBe(ino);
    writeFileSync(path, Buffer.concat([good.subarray(0, 100), Buffer.from("evil")]));
    expect(start(data.path).code).toBe(0);
    expect(readFileSync(path).equals(good)).toBe(true);
  });
  test("many starts at once agree on one file", async () => {
    using data = tempFolder();
    const children = Array.from({ length: 6 }, () =>
      Bun.spawn([program, data.path], { stdout: "pipe", stderr: "inherit" }),
    );
    const codes = await Promise.all(children.map((child) => child.exited));
    expect(codes).toEqual([0, 0, 0, 0, 0, 0]);
    expect(readdirSync(join(data.path, "lib"))).toEqual([`${hash}.so`]);
  });
  test("tools without a data directory use the user's cache folder", () => {
    using home = tempFolder();
    const cached = start("", { XDG_CACHE_HOME: join(home.path, "cache") });
    expect(cached.stdout).toBe(join(home.path, "cache", "chronik", `${hash}.so`));
    const byHome = start("", { HOME: home.path, XDG_CACHE_HOME: "relative" });
    expect(byHome.stdout).toBe(join(home.path, ".cache", "chronik", `${hash}.so`));
  });
  test("another interface version is one sentence", () => {
    using data = tempFolder();
    const { code, stderr } = run([program, data.path, "8"]);
    expect(code).toBe(1);
    expect(stderr).toStartWith("CHRONIK_NATIVE_ABI ");
    expect(stderr).not.toContain("\n");
  });
});

describe("file systems that refuse (needs root and unshare)", () => {
  const mounted = (options: string, target: string): Ended =>
    run([
      "unshare",
      "-m",
      "sh",
      "-c",
      `mount -t tmpfs -o ${options} none "$1" && exec "$2" "$1"`,
      "sh",
      target,
      program,
    ]);
  test.skipIf(!mayMount)("noexec", () => {
    using data = tempFolder();
    const { code, stderr } = mounted("noexec", data.path);
    expect(code).toBe(1);
    expect(stderr).toStartWith("CHRONIK_NATIVE_NOEXEC ");
    expect(stderr).toContain(data.path);
  });
  test.skipIf(!mayMount)("read-only", () => {
    using data = tempFolder();
    const { code, stderr } = mounted("ro", data.path);
    expect(code).toBe(1);
    expect(stderr).toStartWith("CHRONIK_NATIVE_UNWRITABLE ");
    expect(stderr).toContain(join(data.path, "lib"));
    expect(stderr).not.toContain("\n");
  });
  test.skipIf(!mayMount)("full", () => {
    using data = tempFolder();
    const { code, stderr } = mounted("size=4k", data.path);
    expect(code).toBe(1);
    expect(stderr).toStartWith("CHRONIK_NATIVE_UNWRITABLE ");
    expect(stderr).toContain("ENOSPC");
  });
});

describe("an old libc is told in one sentence", () => {
  test("before the library is loaded", async () => {
    using folder2 = tempFolder();
    const library = compileStub(folder2.path, "libchronik", "ABI=7");
    // A version name in the library's strings is what the build looks for.
    const bytes = Buffer.concat([readFileSync(library), Buffer.from("\0GLIBC_2.99\0")]);
    writeFileSync(library, bytes);
    const outfile = join(folder2.path, "program");
    await compile({ library, outfile, entry: join(import.meta.dir, "carried.fixture.ts") });
    const { code, stderr } = run([outfile, folder2.path]);
    expect(code).toBe(1);
    expect(stderr).toStartWith("CHRONIK_NATIVE_LIBC this system's libc is glibc 2.");
    expect(stderr).toContain("needs glibc 2.99 or newer");
  });
});
