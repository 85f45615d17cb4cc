import { lstatSync } from "node:fs";
import { cp, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  bun,
  cargoTargetDir,
  exists,
  type Flavour,
  main,
  must,
  requireProgram,
  root,
} from "./support.ts";

/** Packages and the cdylib: all that `bun src/main.ts` and the tests need. Incremental. */
export async function setup(): Promise<void> {
  await installPackages();
  await buildLibrary("release");
}

/** Installs exactly what `bun.lock` names. */
export async function installPackages(): Promise<void> {
  // A linked node_modules belongs to another checkout, which installs it.
  const found = lstatSync(join(root, "node_modules"), { throwIfNoEntry: false });
  if (found?.isSymbolicLink()) return;
  await must([bun, "install", "--frozen-lockfile"]);
}

/** Compiles the cdylib of one flavour. */
export async function buildLibrary(flavour: Flavour): Promise<void> {
  requireProgram("cargo", "chronik's native part needs Rust 1.88 or newer; see https://rustup.rs");
  const targetDir = cargoTargetDir(flavour);
  if (flavour === "test") await seedDependencies(targetDir);
  const features = flavour === "test" ? ["--features", "fp"] : [];
  // Cargo leaves out the profile's `strip` for a crate that is an rlib too: 73 MB instead of 8.
  const strip = ["--", "-C", "strip=debuginfo"];
  await must(["cargo", "rustc", "--lib", "--release", "--locked", ...features, ...strip], {
    cwd: join(root, "ffi"),
    env: { CARGO_TARGET_DIR: targetDir },
  });
}

/**
 * The two flavours differ in our own crate only, so the first test build starts from a copy of the
 * release build's results instead of compiling every dependency a second time.
 */
async function seedDependencies(targetDir: string): Promise<void> {
  const from = join(cargoTargetDir("release"), "release");
  const to = join(targetDir, "release");
  if (exists(to) || !exists(from)) return;
  await mkdir(dirname(to), { recursive: true });
  await cp(from, to, { recursive: true, preserveTimestamps: true });
}

if (import.meta.main) {
  await main(async () => {
    await setup();
    return 0;
  });
}
