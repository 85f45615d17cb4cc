import { afterEach, beforeEach, expect, test } from "bun:test";
import { S3Client } from "@aws-sdk/client-s3";
import { isMissingRegion } from "../../src/store/s3-store.ts";

const names = ["AWS_REGION", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"];
const before = new Map(names.map((name) => [name, process.env[name]]));

beforeEach(() => {
  delete process.env["AWS_REGION"];
  process.env["AWS_CONFIG_FILE"] = "/nonexistent/config";
  process.env["AWS_SHARED_CREDENTIALS_FILE"] = "/nonexistent/credentials";
});

afterEach(() => {
  for (const [name, value] of before) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});

test("no region is told from a region that cannot be found out", async () => {
  const failure = await new S3Client({}).config.region().catch((error: unknown) => error);
  expect(isMissingRegion(failure)).toBe(true);
  expect(isMissingRegion(new Error("EACCES: permission denied, open 'config'"))).toBe(false);
});
