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

test("a second prefix has a folder of its own, and listings show their own keys", async () => {
  const folders: Record<string, readonly { name: string; dir: boolean; bytes: number }[]> = {
    "/idx": [
      { name: "=meta", dir: true, bytes: 0 },
      { name: "meta", dir: true, bytes: 0 },
    ],
    "/idx/meta": [{ name: "a.tar.gz", dir: false, bytes: 1 }],
    "/idx/=meta": [{ name: "cluster", dir: true, bytes: 0 }],
    "/idx/=meta/cluster": [{ name: "b.gz", dir: false, bytes: 2 }],
  };
  const read: string[] = [];
  const store = new LocalStore({
    root: "/idx",
    prefix: "tantivy_indexes/",
    metaPrefix: "meta/",
    scratchDir: "/tmp",
    files: {
      ...noFiles,
      listDir: async (path) => folders[path] ?? null,
      readFile: async (path) => {
        read.push(path);
        return new Uint8Array(1);
      },
    },
  });
  const keys = async (prefix: string, after: string | null = null) =>
    (await store.list(prefix, after, 10)).objects.map(({ key }) => key);
  expect(await keys("")).toEqual(["meta/cluster/b.gz", "tantivy_indexes/meta/a.tar.gz"]);
  expect(await keys("meta/")).toEqual(["meta/cluster/b.gz"]);
  expect(await keys("tantivy_indexes/")).toEqual(["tantivy_indexes/meta/a.tar.gz"]);
  expect(await keys("meta/", "meta/cluster0")).toEqual([]);
  await store.getRange("meta/cluster/b.gz", 0, 1);
  expect(read).toEqual(["/idx/=meta/cluster/b.gz"]);
});
