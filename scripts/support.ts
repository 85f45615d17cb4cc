import { existsSync } from "node:fs";
import { join, resolve } from "node:path";

/** The project's top folder. */
export const root = resolve(import.meta.dir, "..");

/** A failure with a sentence for the person at the terminal; scripts print it without a stack. */
export class ScriptError extends Error {
  override readonly name = "ScriptError";
}

/** Which of the two builds: what ships, or the same sources with named kill points. */
export type Flavour = "release" | "test";

/** The folder cargo builds into; a relative CARGO_TARGET_DIR counts from `ffi/`, as for cargo. */
export function cargoTargetDir(flavour: Flavour): string {
  const base = resolve(root, "ffi", process.env["CARGO_TARGET_DIR"] || "target");
  // An own folder, so that neither build throws away the other's results.
  return flavour === "release" ? base : join(base, "fp");
}

/** The cdylib that cargo leaves behind. */
export function libraryPath(flavour: Flavour): string {
  return join(cargoTargetDir(flavour), "release", "libchronik.so");
}

/** The executable of one flavour. */
export function executablePath(flavour: Flavour): string {
  return join(root, "dist", flavour === "release" ? "chronik" : "chronik-test");
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
}

/** Runs a command on this terminal; returns its exit code (128 + signal when killed). */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<number> {
  const child = Bun.spawn([...command], {
    cwd: options.cwd ?? root,
    env: { ...process.env, ...options.env },
    stdio: ["inherit", "inherit", "inherit"],
  });
  return child.exited;
}

/** Like `run`, but anything other than exit code 0 is a ScriptError. */
export async function must(command: readonly string[], options: RunOptions = {}): Promise<void> {
  const code = await run(command, options);
  if (code !== 0) throw new ScriptError(`${command.join(" ")} ended with exit code ${code}`);
}

/** Fails with one sentence when a program the next step needs is not on the PATH. */
export function requireProgram(name: string, remedy: string): void {
  if (Bun.which(name) === null) throw new ScriptError(`${name} is not installed: ${remedy}`);
}

/** The Bun that runs this script, so that nested calls use the same version. */
export const bun = process.execPath;

export function heading(text: string): void {
  console.error(`\n── ${text}`);
}

/** Runs a script's body; a ScriptError becomes one line and exit code 1. */
export async function main(body: () => Promise<number | undefined>): Promise<void> {
  try {
    process.exitCode = (await body()) ?? 0;
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    console.error(`error: ${error.message}`);
    process.exitCode = 1;
  }
}

export function exists(path: string): boolean {
  return existsSync(resolve(root, path));
}
