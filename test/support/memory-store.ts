import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  checkKey,
  type ObjectPage,
  type ObjectStore,
  StoreError,
} from "../../src/store/object-store.ts";

/** Objects in memory. */
export class MemoryStore implements ObjectStore {
  readonly description = "memory";
  readonly objects = new Map<string, Uint8Array>();
  private readonly scratchDir: string;
  private copies = 0;

  /** Copies for verification go to `scratchDir`. */
  constructor(scratchDir: string) {
    this.scratchDir = scratchDir;
  }

  putFile(key: string, path: string): Promise<"stored" | "exists"> {
    return this.putBytes(key, readFileSync(path));
  }

  async putBytes(key: string, bytes: Uint8Array): Promise<"stored" | "exists"> {
    checkKey(key);
    if (this.objects.has(key)) return "exists";
    // A copy of a Buffer too, whose own slice() is a view.
    this.objects.set(key, new Uint8Array(bytes));
    return "stored";
  }

  async head(key: string): Promise<{ bytes: number } | null> {
    checkKey(key);
    const object = this.objects.get(key);
    return object === undefined ? null : { bytes: object.length };
  }

  async getRange(key: string, position: number, length: number): Promise<Uint8Array> {
    const object = this.get(key);
    if (position + length <= object.length) return object.slice(position, position + length);
    throw new StoreError("damaged", key, `has ${object.length} bytes`);
  }

  async openForVerify(key: string): Promise<{ path: string; release(): Promise<void> }> {
    const path = join(this.scratchDir, `copy-${this.copies++}`);
    writeFileSync(path, this.get(key));
    return { path, release: async () => rmSync(path) };
  }

  async list(prefix: string, after: string | null, limit: number): Promise<ObjectPage> {
    const keys = [...this.objects.keys()].sort();
    const left = keys.filter((key) => key.startsWith(prefix) && key > (after ?? ""));
    const objects = left.slice(0, limit).map((key) => ({ key, bytes: this.get(key).length }));
    return { objects, next: left.length > limit ? (objects.at(-1)?.key ?? null) : null };
  }

  async delete(key: string): Promise<void> {
    checkKey(key);
    this.objects.delete(key);
  }

  private get(key: string): Uint8Array {
    checkKey(key);
    const object = this.objects.get(key);
    if (object === undefined) throw new StoreError("not-found", key, "is missing");
    return object;
  }
}
