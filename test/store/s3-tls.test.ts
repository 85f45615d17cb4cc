import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ScratchFiles } from "../../src/store/bucket-store.ts";
import { openS3, s3Options } from "../support/s3-lab.ts";
import { s3SkipReason, startS3 } from "../support/s3-server.ts";

const isCi = process.env["CI"] === "true";
// Signed by itself, for 127.0.0.1, valid for a hundred years; it protects nothing.
const folder = join(import.meta.dir, "../fixtures/tls");
const tls = { cert: join(folder, "server.crt"), key: join(folder, "server.key") };

const never = (): never => {
  throw new Error("no file is used");
};
const noFiles: ScratchFiles = {
  readFile: never,
  fileSize: never,
  appendScratch: never,
  removeFile: never,
};

test.skipIf(!isCi && s3SkipReason !== null)(
  "TLS: a certificate authority of one's own is trusted when named, and only then",
  async () => {
    await using server = await startS3({ tls });
    const ca = readFileSync(tls.cert, "utf8");
    const trusting = await openS3(s3Options(server.endpoint, { ca }), noFiles, "");
    expect(await trusting.putBytes("tls/one", new Uint8Array([1, 2, 3]))).toBe("stored");
    expect([...(await trusting.getRange("tls/one", 1, 2))]).toEqual([2, 3]);
    const wary = await openS3(s3Options(server.endpoint), noFiles, "");
    const read = wary.getRange("tls/one", 0, 1);
    await expect(read).rejects.toMatchObject({ kind: "misconfigured" });
    await expect(wary.getRange("tls/one", 0, 1)).rejects.toThrow("object_store.ca_file");
  },
  600_000,
);
