import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { CacheFiles } from "../../src/tier/read/chunk-disk.ts";

/** The engine's file jobs, without the engine. */
export class RealFiles implements CacheFiles {
  appends = 0;
  failAppends = false;

  async makeDir(path: string): Promise<void> {
    mkdirSync(path, { recursive: true });
  }

  async listDir(path: string) {
    return readdirSync(path, { withFileTypes: true }).map((entry) => ({
      name: entry.name,
      dir: entry.isDirectory(),
      bytes: entry.isFile() ? statSync(join(path, entry.name)).size : 0,
    }));
  }

  async readFile(path: string, position = 0, length?: number): Promise<Uint8Array> {
    const bytes = readFileSync(path);
    return bytes.subarray(position, length === undefined ? undefined : position + length);
  }

  async appendScratch(path: string, position: number, bytes: Uint8Array): Promise<void> {
    if (this.failAppends) throw new Error("no space");
    this.appends++;
    if (position === 0) writeFileSync(path, bytes);
    else if (statSync(path).size === position) appendFileSync(path, bytes);
    else throw new Error(`${path} does not end at ${position}`);
  }

  async removeFile(path: string): Promise<void> {
    rmSync(path, { force: true });
  }
}
