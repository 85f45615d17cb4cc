import type { NativeEngine } from "./engine.ts";

interface FolderEntry {
  readonly name: string;
  readonly dir: boolean;
  readonly bytes: number;
  /** Last change, milliseconds since the epoch; null where the file system does not say. */
  readonly modifiedMs: number | null;
}

/** Durable file work of the engine (design D16): nothing else in the broker writes a file. Every
 * failure is a NativeError: CHRONIK_NOT_FOUND, CHRONIK_EXISTS, CHRONIK_NO_SPACE, CHRONIK_IO, … */
export class NativeFiles {
  private readonly engine: NativeEngine;

  constructor(engine: NativeEngine) {
    this.engine = engine;
  }

  /** Replaces the file as a whole: temp file, fsync, rename, directory fsync. */
  async writeFile(path: string, bytes: Uint8Array): Promise<void> {
    await this.engine.job({ op: "write_file", path }, bytes);
  }

  /** Appends to a scratch file, which position 0 makes new; nothing is promised over a crash.
   * Nobody writes `bytes` meanwhile. */
  async appendScratch(path: string, position: number, bytes: Uint8Array): Promise<void> {
    await this.engine.job({ op: "append_scratch", path, position }, bytes, true);
  }

  async readFile(path: string, position?: number, length?: number): Promise<Uint8Array> {
    const job = {
      op: "read_file",
      path,
      ...(position === undefined ? {} : { position }),
      ...(length === undefined ? {} : { length }),
    };
    return (await this.engine.job(job)).raw;
  }

  async removeFile(path: string): Promise<void> {
    await this.engine.job({ op: "remove_file", path });
  }

  async makeDir(path: string): Promise<void> {
    await this.engine.job({ op: "make_dir", path });
  }

  async removeDir(path: string): Promise<void> {
    await this.engine.job({ op: "remove_dir", path });
  }

  /** Both parents are fsynced. */
  async rename(from: string, to: string): Promise<void> {
    await this.engine.job({ op: "rename", from, to });
  }

  /** Moves a finished temp file into place, durably; CHRONIK_EXISTS with `ifAbsent`. */
  async putFile(from: string, to: string, ifAbsent: boolean): Promise<void> {
    await this.engine.job({ op: "put_file", from, to, if_absent: ifAbsent });
  }

  async listDir(path: string): Promise<FolderEntry[]> {
    const { json } = await this.engine.job<{
      entries: { name: string; dir: boolean; bytes: number; modified_ms?: number | null }[];
    }>({ op: "list_dir", path });
    return json.entries.map(({ modified_ms: modifiedMs = null, ...rest }) => ({
      ...rest,
      modifiedMs,
    }));
  }

  async disk(path: string): Promise<{ freeBytes: number; totalBytes: number }> {
    const { json } = await this.engine.job<{ free_bytes: number; total_bytes: number }>({
      op: "disk",
      path,
    });
    return { freeBytes: json.free_bytes, totalBytes: json.total_bytes };
  }
}
