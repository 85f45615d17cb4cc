import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { libraryPath as builtLibraryPath } from "../../scripts/support.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { expectedAbi } from "../../src/native/abi.ts";
import { type EngineConfig, NativeEngine } from "../../src/native/engine.ts";
import { openLibrary } from "../../src/native/library.ts";

/** The engine's library: what was built here, or CHRONIK_LIBRARY. */
export const libraryPath: string = process.env["CHRONIK_LIBRARY"] ?? builtLibraryPath("release");

/** Tests of the native boundary are skipped, by name, where the library was not built. */
export const hasLibrary = existsSync(libraryPath);

export const engineConfig: Omit<EngineConfig, "dataDir"> = {
  committerThreads: 4,
  workerThreads: 1,
  queueBytesMax: 64 << 20,
  queueAppendsMax: 8192,
  completionsMax: 16_384,
  segmentBytesMax: 128 << 20,
  filesOpenMax: 256,
  commitWaitUs: 0,
  watchdogSeconds: 300,
};

export function openEngine(
  dataDir: string,
  config: Partial<EngineConfig> = {},
): Promise<NativeEngine> {
  const library = openLibrary({ dataDir, expectedAbi, path: libraryPath });
  return NativeEngine.open(library, { ...engineConfig, ...config, dataDir }, systemClock);
}

/** A folder that goes with the scope: `using dir = tempDir()`. */
export function tempDir(): { path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), "chronik-test-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
