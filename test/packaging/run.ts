import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const root = resolve(import.meta.dir, "..", "..");
export const executable = join(root, "dist", "chronik");

/** A folder that goes away with the scope it is declared in by `using`. */
export function tempFolder(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "chronik-packaging-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end with nothing in its environment but what is given. */
export function run(
  command: readonly string[],
  options: { readonly cwd?: string; readonly env?: Record<string, string> } = {},
): Ended {
  const done = Bun.spawnSync([...command], {
    cwd: options.cwd ?? root,
    env: { PATH: `${process.env["PATH"]}:/usr/sbin:/sbin`, ...options.env },
    stdin: "ignore",
    timeout: 60_000,
  });
  return { code: done.exitCode, stdout: `${done.stdout}`, stderr: `${done.stderr}` };
}

/** Whether tests may mount file systems in a namespace of their own. */
export const mayMount =
  process.getuid?.() === 0 && run(["unshare", "-m", "mount", "--bind", "/", "/"]).code === 0;
