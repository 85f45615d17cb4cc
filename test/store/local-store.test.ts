import { expect, test } from "bun:test";
import { type DurableFiles, LocalStore } from "../../src/store/local-store.ts";
import { checkKey } from "../../src/store/object-store.ts";

class MemoryFiles implements DurableFiles {
  readonly files = new Map<string, Uint8Array>();

  putFile(from: string, to: string, ifAbsent: boolean): Promise<"stored" | "exists"> {
    if (ifAbsent && this.files.has(to)) return Promise.resolve("exists");
    this.files.set(to, this.files.get(from) ?? new Uint8Array());
    this.files.delete(from);
    return Promise.resolve("stored");
  }

  readFile(path: string, position: number, length: number): Promise<Uint8Array | null> {
    return Promise.resolve(this.files.get(path)?.subarray(position, position + length) ?? null);
  }

  fileSize(path: string): Promise<number | null> {
    return Promise.resolve(this.files.get(path)?.length ?? null);
  }

  removeFile(path: string): Promise<void> {
    this.files.delete(path);
    return Promise.resolve();
  }
}

const key = "tantivy_indexes/t/partition-0/segment-0-9.tar.gz";

test("puts once, reads ranges, deletes", async () => {
  const files = new MemoryFiles();
  const store = new LocalStore("/data/idx", "tantivy_indexes/", files);
  files.files.set("/tmp/a", new Uint8Array([1, 2, 3, 4]));
  files.files.set("/tmp/b", new Uint8Array([9]));
  expect(await store.putFile(key, "/tmp/a")).toBe("stored");
  expect(await store.putFile(key, "/tmp/b")).toBe("exists");
  expect([...files.files.keys()].sort()).toEqual([`/data/idx/${key.slice(16)}`, "/tmp/b"]);
  expect(await store.head(key)).toEqual({ bytes: 4 });
  expect([...(await store.getRange(key, 1, 2))]).toEqual([2, 3]);
  await store.delete(key);
  await store.delete(key);
  expect(await store.head(key)).toBeNull();
});

test("missing and cut-short objects are errors with the key, never emptiness", async () => {
  const files = new MemoryFiles();
  const store = new LocalStore("/data/idx", "tantivy_indexes/", files);
  await expect(store.getRange(key, 0, 4)).rejects.toMatchObject({ kind: "not-found", key });
  files.files.set(`/data/idx/${key.slice(16)}`, new Uint8Array([1, 2]));
  await expect(store.getRange(key, 0, 4)).rejects.toMatchObject({ kind: "damaged" });
});

test("a key outside the prefix is refused", async () => {
  const store = new LocalStore("/data/idx", "tantivy_indexes/", new MemoryFiles());
  expect(() => store.head("other/file")).toThrow("does not begin with");
});

test("hostile keys never reach the file system", () => {
  for (const bad of [
    "",
    "/etc/passwd",
    "a/../b",
    "..",
    "a//b",
    "a/./b",
    "a\0b",
    "a\\b",
    "é",
    `${"a/".repeat(600)}a`,
  ]) {
    expect(() => checkKey(bad), bad).toThrow("not a legal object key");
  }
  checkKey(key);
  checkKey("tantivy_indexes/a.b_c-d/partition-12/segment-0-9.g2-0a1b2c3d.tar.gz");
});
