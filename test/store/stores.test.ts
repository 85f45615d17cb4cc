import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { storeFiles } from "../../src/broker-storage.ts";
import type { NativeEngine } from "../../src/native/engine.ts";
import { NativeFiles } from "../../src/native/files.ts";
import { LocalStore } from "../../src/store/local-store.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { hasLibrary, openEngine, tempDir } from "../support/native.ts";
import { openS3, s3Options } from "../support/s3-lab.ts";
import { type S3Server, s3SkipReason, startS3 } from "../support/s3-server.ts";
import { type StoreUnderTest, storeSuite } from "./store-suite.ts";

const dir = tempDir();
const scratchDir = join(dir.path, "tmp");
let engine: NativeEngine | null = null;
let server: S3Server | null = null;
const subjects = new Map<string, StoreUnderTest>();
const isCi = process.env["CI"] === "true";
const minutesMs = 600_000;

beforeAll(async () => {
  if (!hasLibrary) return;
  engine = await openEngine(dir.path);
  const files = new NativeFiles(engine);
  await files.makeDir(scratchDir);
  const ports = storeFiles(files);
  const at = (store: StoreUnderTest["store"]) => ({ store, folder: join(dir.path, "tmp") });
  const root = join(dir.path, "objects");
  const prefix = "tantivy_indexes/";
  subjects.set("local", at(new LocalStore({ root, prefix, scratchDir, files: ports })));
  subjects.set("memory", at(new MemoryStore(scratchDir)));
  if (s3SkipReason !== null) return;
  server = await startS3();
  const s3 = (changes: Parameters<typeof s3Options>[1]) =>
    openS3(s3Options(server?.endpoint ?? "", changes), ports, scratchDir);
  subjects.set("s3", at(await s3({})));
  const older = await s3({ checksums: "when_required", prefix: "older/" });
  subjects.set("s3 without checksum headers", at(older));
}, minutesMs);

afterAll(async () => {
  await engine?.close();
  await server?.[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});

test.skipIf(!isCi && !(hasLibrary && s3SkipReason === null))("every kind of store is there", () => {
  expect([hasLibrary, s3SkipReason]).toEqual([true, null]);
});

for (const kind of ["memory", "local", "s3", "s3 without checksum headers"]) {
  const isHere = hasLibrary && (!kind.startsWith("s3") || s3SkipReason === null);
  describe.skipIf(!isHere)(kind, () => {
    storeSuite(() => {
      const subject = subjects.get(kind);
      if (subject === undefined) throw new Error(`no store ${kind}`);
      return subject;
    });
  });
}
