import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { NativeFiles } from "../../src/native/files.ts";
import { hasLibrary, openEngine, tempDir } from "../support/native.ts";

test.skipIf(!hasLibrary)("a scratch file grows at its end and nowhere else", async () => {
  using dir = tempDir();
  const engine = await openEngine(dir.path);
  const files = new NativeFiles(engine);
  const path = join(dir.path, "tmp", "scratch");
  await files.makeDir(join(dir.path, "tmp"));
  await files.appendScratch(path, 0, new Uint8Array([1, 2, 3]));
  await files.appendScratch(path, 3, new Uint8Array([4]));
  expect([...readFileSync(path)]).toEqual([1, 2, 3, 4]);
  await expect(files.appendScratch(path, 3, new Uint8Array([9]))).rejects.toThrow("ends at 4");
  await expect(files.appendScratch(path, 5, new Uint8Array([9]))).rejects.toThrow("ends at 4");
  expect([...readFileSync(path)]).toEqual([1, 2, 3, 4]);
  // Position 0 begins anew, whatever an earlier attempt left.
  await files.appendScratch(path, 0, new Uint8Array());
  expect(readFileSync(path)).toHaveLength(0);
  await expect(files.appendScratch("tmp/../../x", 0, new Uint8Array())).rejects.toThrow("path");
  await engine.close();
});
