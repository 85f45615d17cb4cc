import { describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { sha256 } from "../../scripts/compile.ts";
import { libraryPath } from "../../scripts/support.ts";
import { mayMount, root, run, tempFolder } from "./run.ts";

const folder = join(root, "dist", "release");
const names = ["chronik-linux-x64", "chronik-linux-x64-baseline"];
const built = names.every((name) => existsSync(join(folder, name)));
const emulator = Bun.which("qemu-x86_64");

describe("what `bun run release` wrote (run it first)", () => {
  for (const name of names) {
    test.skipIf(!built)(`${name} fits its sha256`, () => {
      const line = readFileSync(join(folder, `${name}.sha256`), "utf8");
      expect(line).toBe(`${sha256(readFileSync(join(folder, name)))}  ${name}\n`);
    });

    test.skipIf(!built || !mayMount)(`${name} runs where there is only a libc (needs root)`, () => {
      using bare = tempFolder();
      copyWithLibraries(join(folder, name), bare.path);
      mkdirSync(join(bare.path, "proc"));
      const enter = 'mount -t proc none "$0/proc" && exec chroot "$0" /chronik "$@"';
      const inside = (...given: string[]) =>
        run(["unshare", "-m", "sh", "-c", enter, bare.path, ...given]);
      expect(inside("version")).toMatchObject({ code: 0, stderr: "" });
      expect(inside("--data-dir", "/data", "config").stdout).toContain('data_dir = "/data"');
    });

    test.skipIf(!built || !emulator)(`${name} runs without AVX (needs qemu-user)`, () => {
      const command = [emulator ?? "", "-cpu", "Nehalem", join(folder, name), "config"];
      expect(run(command)).toMatchObject({ code: 0, stderr: "" });
    });
  }
});

/** Puts an executable and the system libraries that it and the cdylib ask for into `target`. */
function copyWithLibraries(executable: string, target: string): void {
  copyFileSync(executable, join(target, "chronik"));
  for (const file of [executable, libraryPath("release")]) {
    const { stdout } = run(["ldd", file]);
    for (const [, path = ""] of stdout.matchAll(/(\/\S+) \(0x/g)) {
      const copy = join(target, path);
      mkdirSync(dirname(copy), { recursive: true });
      copyFileSync(path, copy);
    }
  }
}
