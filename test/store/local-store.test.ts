import { expect, test } from "bun:test";
import { type DurableFiles, LocalStore } from "../../src/store/local-store.ts";
import { checkKey } from "../../src/store/object-store.ts";

const never = (): never => {
  throw new Error("a file was touched");
};
const noFiles: DurableFiles = {
  putFile: never,
  readFile: never,
  appendScratch: never,
  fileSize: never,
  listDir: never,
  removeFile: never,
};

test("a key outside the prefix is refused", async () => {
  const store = new LocalStore({
    root: "/data/idx",
    prefix: "tantivy_indexes/",
    scratchDir: "/data/tmp",
    files: noFiles,
  });
  await expect(store.head("other/file")).rejects.toThrow("does not begin with");
  await expect(store.getRange("other/file", 0, 1)).rejects.toThrow("does not begin with");
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
  checkKey("tantivy_indexes/t/partition-0/segment-0-9.tar.gz");
  checkKey("tantivy_indexes/a.b_c-d/partition-12/segment-0-9.g2-0a1b2c3d.tar.gz");
});
