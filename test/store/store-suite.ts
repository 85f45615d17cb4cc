import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ObjectStore } from "../../src/store/object-store.ts";

/** Where a store under test lies, and a folder for files on their way. */
export interface StoreUnderTest {
  readonly store: ObjectStore;
  readonly folder: string;
}

const prefix = "tantivy_indexes/";

function sha256(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}

/** Bytes that repeat nowhere near themselves. */
export function patterned(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let state = seed;
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

/** What every object store must do; each test uses keys of its own. */
export function storeSuite(subject: () => StoreUnderTest): void {
  let files = 0;
  const fileOf = (bytes: Uint8Array): string => {
    const { folder } = subject();
    mkdirSync(folder, { recursive: true });
    const path = join(folder, `put-${files++}`);
    writeFileSync(path, bytes);
    return path;
  };
  const put = (key: string, bytes: Uint8Array) =>
    subject().store.putFile(key, fileOf(bytes), sha256(bytes));

  test("a file is put once, and read back whole and in ranges", async () => {
    const { store } = subject();
    const key = `${prefix}t/partition-0/segment-0-9.tar.gz`;
    const bytes = patterned(100_000);
    expect(await put(key, bytes)).toBe("stored");
    expect(await store.head(key)).toEqual({ bytes: 100_000 });
    expect(await store.getRange(key, 0, 100_000)).toEqual(bytes);
    expect(await store.getRange(key, 99_990, 10)).toEqual(bytes.slice(99_990));
    expect(await store.getRange(key, 5, 1)).toEqual(bytes.slice(5, 6));
    expect(await store.getRange(key, 5, 0)).toHaveLength(0);
  });

  test("a second put of a key changes nothing", async () => {
    const { store } = subject();
    const key = `${prefix}t/partition-1/segment-0-9.tar.gz`;
    expect(await put(key, patterned(1000, 1))).toBe("stored");
    expect(await put(key, patterned(1000, 2))).toBe("exists");
    expect(await put(key, patterned(10, 2))).toBe("exists");
    expect(await store.putBytes(key, patterned(1000, 3))).toBe("exists");
    expect(await store.getRange(key, 0, 1000)).toEqual(patterned(1000, 1));
  });

  test("of two puts at once one is stored", async () => {
    const { store } = subject();
    const key = `${prefix}race`;
    const puts = [1, 2, 3, 4].map((seed) => store.putBytes(key, patterned(50, seed)));
    const outcomes = await Promise.all(puts);
    expect(outcomes.filter((outcome) => outcome === "stored")).toHaveLength(1);
    const winner = outcomes.indexOf("stored") + 1;
    expect(await store.getRange(key, 0, 50)).toEqual(patterned(50, winner));
  });

  test("a file of several parts", async () => {
    const { store } = subject();
    const key = `${prefix}t/partition-2/segment-0-9.tar.gz`;
    const bytes = patterned((11 << 20) + 3);
    expect(await put(key, bytes)).toBe("stored");
    expect(await put(key, patterned((11 << 20) + 3, 2))).toBe("exists");
    expect(await store.head(key)).toEqual({ bytes: bytes.length });
    const border = 5 << 20;
    expect(await store.getRange(key, border - 5, 10)).toEqual(bytes.slice(border - 5, border + 5));
    const copy = await store.openForVerify(key);
    expect(sha256(readFileSync(copy.path))).toBe(sha256(bytes));
    await copy.release();
    expect(await store.head(key)).toEqual({ bytes: bytes.length });
  });

  test("an object of no bytes", async () => {
    const { store } = subject();
    const key = `${prefix}empty`;
    expect(await put(key, new Uint8Array())).toBe("stored");
    expect(await store.head(key)).toEqual({ bytes: 0 });
    const copy = await store.openForVerify(key);
    expect(readFileSync(copy.path)).toHaveLength(0);
    await copy.release();
  });

  test("what is missing or too short is an error with its key, never emptiness", async () => {
    const { store } = subject();
    const key = `${prefix}missing`;
    expect(await store.head(key)).toBeNull();
    const notFound = { name: "StoreError", kind: "not-found" };
    await expect(store.getRange(key, 0, 4)).rejects.toMatchObject(notFound);
    await expect(store.getRange(key, 0, 4)).rejects.toThrow("missing");
    await store.putBytes(key, patterned(10));
    await expect(store.getRange(key, 8, 4)).rejects.toMatchObject({ kind: "damaged" });
    await expect(store.getRange(key, 80, 4)).rejects.toMatchObject({ kind: "damaged" });
  });

  test("lists by prefix in pages, in byte order", async () => {
    const { store } = subject();
    // `-` and `.` sort before `/`, `0` after it: whole keys count, not names in a folder.
    const names = ["a-b", "a.b", "a/b", "a/c/d", "a0", "ab/c", "b"].map(
      (n) => `${prefix}list/${n}`,
    );
    for (const name of names.toReversed()) await store.putBytes(name, patterned(3));
    for (const limit of [1, 2, 3, 7, 1000]) {
      const found: string[] = [];
      let after: string | null = null;
      do {
        const page = await store.list(`${prefix}list/`, after, limit);
        expect(page.objects.length).toBeLessThanOrEqual(limit);
        expect(page.objects.every(({ bytes }) => bytes === 3)).toBe(true);
        found.push(...page.objects.map(({ key }) => key));
        after = page.next;
      } while (after !== null);
      expect(found).toEqual(names);
    }
    const inFolder = await store.list(`${prefix}list/a/`, null, 10);
    expect(inFolder.objects.map(({ key }) => key)).toEqual(names.slice(2, 4));
    const later = await store.list(`${prefix}list/a`, `${prefix}list/a/b`, 10);
    expect(later.objects.map(({ key }) => key)).toEqual(names.slice(3, 6));
    expect(await store.list(`${prefix}list/x`, null, 10)).toEqual({ objects: [], next: null });
  });

  test("deletes, and deletes again", async () => {
    const { store } = subject();
    const key = `${prefix}gone/with/folders`;
    await store.putBytes(key, patterned(5));
    await store.delete(key);
    expect(await store.head(key)).toBeNull();
    await store.delete(key);
    await store.delete(`${prefix}never/there`);
    expect(await store.putBytes(key, patterned(6))).toBe("stored");
  });

  test("hostile keys reach no store", async () => {
    const { store } = subject();
    for (const key of ["", "../x", `${prefix}../../x`, "/x", `${prefix}a//b`, `${prefix}a\0b`]) {
      const tries = [
        async () => store.head(key),
        async () => store.getRange(key, 0, 1),
        async () => store.putBytes(key, patterned(1)),
        async () => store.delete(key),
      ];
      for (const attempt of tries) {
        await expect(attempt()).rejects.toMatchObject({ kind: "invalid-key" });
      }
    }
  });
}
