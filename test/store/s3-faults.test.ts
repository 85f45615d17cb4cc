import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { storeFiles } from "../../src/broker-storage.ts";
import type { NativeEngine } from "../../src/native/engine.ts";
import { NativeFiles } from "../../src/native/files.ts";
import type { BucketStore } from "../../src/store/bucket-store.ts";
import { StoreError } from "../../src/store/object-store.ts";
import type { S3Options } from "../../src/store/s3-store.ts";
import { checkStore, type StepReport } from "../../src/store/store-check.ts";
import { type FaultKind, FaultProxy } from "../support/fault-proxy.ts";
import { hasLibrary, openEngine, tempDir } from "../support/native.ts";
import { capturedLogger } from "../support/network.ts";
import { openS3, s3Options } from "../support/s3-lab.ts";
import { type S3Server, s3SkipReason, secretKey, startS3 } from "../support/s3-server.ts";
import { patterned } from "./store-suite.ts";

const canRun = hasLibrary && s3SkipReason === null;
const isCi = process.env["CI"] === "true";

test.skipIf(!isCi && !canRun)("the S3 server and the engine are there", () => {
  expect([hasLibrary, s3SkipReason]).toEqual([true, null]);
});

/** Five seconds of patience; an attempt of a read has one. */
const hurried: Partial<S3Options> = { attemptMs: 1_000, readBudgetMs: 5_000, writeBudgetMs: 5_000 };

describe.skipIf(!canRun)("a faulty store", () => {
  const dir = tempDir();
  const scratchDir = join(dir.path, "tmp");
  const { logger, lines } = capturedLogger();
  let engine: NativeEngine;
  let server: S3Server;
  let proxy: FaultProxy;
  let store: BucketStore;
  let keys = 0;

  const open = (changes: Partial<S3Options> = {}) =>
    openS3(
      s3Options(proxy.endpoint, { ...hurried, ...changes }),
      storeFiles(new NativeFiles(engine)),
      scratchDir,
      logger,
    );
  const newKey = () => `tantivy_indexes/t/object-${keys++}`;
  const put = (key: string, bytes: Uint8Array) => {
    const path = join(dir.path, "tmp", "file");
    mkdirSync(scratchDir, { recursive: true });
    writeFileSync(path, bytes);
    return store.putFile(key, path, new Bun.CryptoHasher("sha256").update(bytes).digest("hex"));
  };
  const stored = (key: string) => readFileSync(join(server.folder, "archives/some/folder", key));

  beforeAll(async () => {
    engine = await openEngine(dir.path);
    server = await startS3();
    proxy = await FaultProxy.start(server.endpoint);
  }, 600_000);
  beforeEach(async () => {
    proxy.will();
    store = await open();
    await store.isPutConditional();
    proxy.will();
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    await engine.close();
    dir[Symbol.dispose]();
  });

  const passing: [string, FaultKind][] = [
    ["500", { status: 500, code: "InternalError" }],
    ["503", { status: 503, code: "SlowDown" }],
    ["429", { status: 429, code: "TooManyRequests" }],
    ["a refused connection", "refuse"],
    ["silence", "stall"],
    ["a reset in the body", "reset-body"],
    ["silence in the body", "stall-body"],
    ["a body too short", "short"],
    ["another range", "other-range"],
  ];

  test.each(passing)("%s: a read is tried again and gives the right bytes", async (_, kind) => {
    const key = newKey();
    const bytes = patterned(50_000);
    await put(key, bytes);
    proxy.will({ kind, method: "GET", times: 2 });
    expect(await store.getRange(key, 100, 40_000)).toEqual(bytes.slice(100, 40_100));
    expect(proxy.seen.map(({ fault }) => fault)).toEqual([kind, kind, null]);
  });

  test.each(passing)("%s for good: a read ends with an error in time", async (_, kind) => {
    const key = newKey();
    await put(key, patterned(50_000));
    proxy.will({ kind, method: "GET" });
    const startMs = performance.now();
    const error = await store.getRange(key, 0, 50_000).catch((failure: unknown) => failure);
    expect(performance.now() - startMs).toBeLessThan(8_000);
    if (!(error instanceof StoreError)) throw new Error("it was served");
    expect(["unavailable", "damaged"]).toContain(error.kind);
    expect(error.message).toContain("cannot be read from s3://archives/some/folder/ at http://");
    expect(error.message).toMatch(/\(\d attempts in [\d.]+ s\)/);
    expect(proxy.seen.length).toBeGreaterThan(1);
    expect(proxy.seen.length).toBeLessThanOrEqual(8);
  });

  test.each([...passing.slice(0, 5), ["a lost answer", "lose-answer" as const] as const])(
    "%s: a put is tried again, and stored once",
    async (_, kind) => {
      const key = newKey();
      const bytes = patterned(70_000);
      proxy.will({ kind, method: "PUT", times: 1 });
      expect(await put(key, bytes)).toBe("stored");
      expect(new Uint8Array(stored(key))).toEqual(bytes);
      expect(await put(key, patterned(70_000, 2))).toBe("exists");
    },
  );

  test("a put whose answer was lost is told from another's object of the same size", async () => {
    const key = newKey();
    await put(key, patterned(1_000, 1));
    proxy.will({ kind: "lose-answer", method: "PUT", times: 1 });
    expect(await put(key, patterned(1_000, 2))).toBe("exists");
    expect(new Uint8Array(stored(key))).toEqual(patterned(1_000, 1));
  });

  test("each request of a put in parts may fail, or lose its answer", async () => {
    const bytes = patterned((6 << 20) + 1);
    const uploads = /\?(.*&)?uploads/;
    const part = /partNumber=/;
    const complete = /\?(?!.*partNumber).*uploadId=/;
    for (const path of [uploads, part, complete]) {
      for (const kind of [{ status: 503, code: "SlowDown" }, "lose-answer", "refuse"] as const) {
        const key = newKey();
        proxy.will({ kind, path, times: 1 });
        expect(await put(key, bytes)).toBe("stored");
        expect(proxy.seen.filter(({ fault }) => fault !== null)).toHaveLength(1);
        expect(stored(key).equals(bytes)).toBe(true);
      }
    }
  }, 60_000);

  test("parts that cannot be put are given up, and their upload with them", async () => {
    const key = newKey();
    proxy.will({ kind: { status: 403, code: "AccessDenied" }, path: /partNumber=2/ });
    await expect(put(key, patterned((6 << 20) + 1))).rejects.toMatchObject({ kind: "denied" });
    const last = proxy.seen.at(-1);
    expect([last?.method, last?.path.includes("uploadId=")]).toEqual(["DELETE", true]);
    expect(await store.head(key)).toBeNull();
  });

  test("flipped bytes of an upload are refused by the store and sent again", async () => {
    const key = newKey();
    const bytes = patterned(10_000);
    proxy.will({ kind: "flip-request", method: "PUT", times: 2 });
    expect(await put(key, bytes)).toBe("stored");
    expect(proxy.seen.map(({ fault }) => fault)).toEqual(["flip-request", "flip-request", null]);
    expect(stored(key).equals(bytes)).toBe(true);
    const older = await open({ checksums: "when_required" });
    await older.isPutConditional();
    proxy.will({ kind: "flip-request", method: "PUT", times: 1 });
    expect(await older.putBytes(newKey(), bytes)).toBe("stored");
    expect(proxy.seen).toHaveLength(2);
  });

  test("checksums go with every body, in the headers that the settings name", async () => {
    for (const checksums of ["when_supported", "when_required"] as const) {
      const sending = await open({ checksums });
      await sending.isPutConditional();
      proxy.will();
      await sending.putBytes(newKey(), patterned(1_000));
      await sending.putBytes(newKey(), patterned((5 << 20) + 9));
      const bodies = proxy.seen.filter(({ method }) => method === "PUT");
      expect(bodies).toHaveLength(3);
      for (const { headers } of bodies) {
        const names = Object.keys(headers).filter((name) => /checksum|md5|trailer/.test(name));
        expect(names).toEqual(
          checksums === "when_supported" ? ["x-amz-checksum-crc32"] : ["content-md5"],
        );
      }
    }
  });

  test("a flipped byte of a whole object is found by its checksum", async () => {
    const key = newKey();
    const bytes = patterned(10_000);
    await put(key, bytes);
    proxy.will({ kind: "flip", method: "GET", times: 1 });
    const copy = await store.openForVerify(key);
    expect(readFileSync(copy.path).equals(bytes)).toBe(true);
    expect(proxy.seen.map(({ fault }) => fault)).toEqual([null, "flip", null]);
    await copy.release();
  });

  test("a copy that fails half-way leaves no file behind", async () => {
    const key = newKey();
    await put(key, patterned(6 << 20));
    const before = readdirSync(scratchDir);
    proxy.will({ kind: { status: 403, code: "AccessDenied" }, method: "GET", after: 1 });
    await expect(store.openForVerify(key)).rejects.toMatchObject({ kind: "denied" });
    expect(readdirSync(scratchDir)).toEqual(before);
  });

  test("a store that ignores ranges is not read to its end", async () => {
    const key = newKey();
    await put(key, patterned(1_000));
    proxy.will({ kind: { status: 200, code: "Whole" }, method: "GET" });
    await expect(store.getRange(key, 10, 20)).rejects.toMatchObject({ kind: "damaged" });
  });

  test("a lasting refusal is told at once, with what to do and without secrets", async () => {
    const key = newKey();
    const refusals = [
      [403, "AccessDenied", "denied", "chronik store check"],
      [403, "SignatureDoesNotMatch", "denied", "object_store.secret_key"],
      [403, "RequestTimeTooSkewed", "denied", "clock"],
      [404, "NoSuchBucket", "misconfigured", "object_store.bucket"],
      [301, "PermanentRedirect", "misconfigured", "object_store.region"],
      [501, "NotImplemented", "misconfigured", "lacks the operation"],
      [507, "InsufficientStorage", "no-space", "make room"],
    ] as const;
    for (const [status, code, kind, hint] of refusals) {
      proxy.will({ kind: { status, code } });
      const error = await store.getRange(key, 0, 1).catch((failure: unknown) => failure);
      expect(error).toMatchObject({ name: "StoreError", kind });
      const text = String(error);
      expect(text).toContain(hint);
      expect(text).toContain("s3://archives/some/folder/ at http://127.0.0.1");
      expect(text).not.toContain(secretKey);
      expect(proxy.seen).toHaveLength(1);
    }
  });

  test("a server that is not there", async () => {
    const nowhere = await open({ endpoint: "http://127.0.0.1:1", readBudgetMs: 1_000 });
    await expect(nowhere.getRange(newKey(), 0, 1)).rejects.toMatchObject({ kind: "unavailable" });
  });

  test("where the second put is not refused, each put looks first and says so", async () => {
    const careless = await open();
    // The condition is answered as a store would that does not know it.
    proxy.will({ kind: { status: 200, code: "" }, method: "PUT", path: /chronik-probe/ });
    expect(await careless.isPutConditional()).toBe(false);
    expect(lines.some((line) => line.includes("does not refuse a second put"))).toBe(true);
    proxy.will();
    const key = newKey();
    expect(await careless.putBytes(key, patterned(100, 1))).toBe("stored");
    expect(proxy.seen.map(({ method }) => method)).toEqual(["HEAD", "PUT"]);
    expect(await careless.putBytes(key, patterned(100, 2))).toBe("exists");
    expect(await careless.putBytes(key, patterned(100, 1))).toBe("stored");
    expect(new Uint8Array(stored(key))).toEqual(patterned(100, 1));
  });

  test("a probe that failed is tried again by the next put", async () => {
    const other = await open();
    proxy.will({ kind: { status: 403, code: "AccessDenied" } });
    await expect(other.putBytes(newKey(), patterned(9))).rejects.toMatchObject({ kind: "denied" });
    proxy.will();
    expect(await other.putBytes(newKey(), patterned(9))).toBe("stored");
  });

  test("the check names the permission that is missing", async () => {
    const missing = [
      [{ method: "PUT" }, "s3:PutObject"],
      [{ method: "GET", path: /x-id=GetObject/ }, "s3:GetObject"],
      [{ method: "GET", path: /list-type=2/ }, "s3:ListBucket"],
      [{ method: "DELETE", path: /uploadId=/ }, "s3:AbortMultipartUpload"],
      [{ method: "DELETE", path: /x-id=DeleteObject/ }, "s3:DeleteObject"],
    ] as const;
    const check = async () => {
      const fresh = await open();
      const steps: StepReport[] = [];
      const remote = {
        isPutConditional: () => fresh.isPutConditional(),
        beginAndAbortUpload: (key: string) => fresh.beginAndAbortUpload(key),
        partBytes: 5 << 20,
      };
      const ok = await checkStore(fresh, remote, "", (step) => steps.push(step));
      return { ok, steps };
    };
    const good = await check();
    expect(good.steps.filter(({ ok }) => !ok)).toEqual([]);
    expect(good.steps.map(({ name }) => name)).toEqual([
      "put if absent",
      "put",
      "head",
      "ranged get",
      "list",
      "put in parts",
      "give up a put in parts",
      "delete",
      "head of what is gone",
    ]);
    for (const [where, permission] of missing) {
      proxy.will({ ...where, kind: { status: 403, code: "AccessDenied" } });
      const { ok, steps } = await check();
      expect(ok).toBe(false);
      const text = steps.filter((step) => !step.ok).map((step) => step.text);
      expect(text.some((line) => line.includes(`needs the permission ${permission}`))).toBe(true);
    }
    proxy.will();
    expect((await check()).ok).toBe(true);
  }, 60_000);

  test("a stop repeats nothing more", async () => {
    const stopping = await open();
    stopping.stop();
    proxy.will({ kind: { status: 503, code: "SlowDown" } });
    await expect(stopping.getRange(newKey(), 0, 1)).rejects.toMatchObject({ kind: "unavailable" });
    expect(proxy.seen).toHaveLength(1);
  });
});
