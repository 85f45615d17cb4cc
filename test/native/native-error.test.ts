import { expect, test } from "bun:test";
import { status } from "../../src/native/abi.ts";
import { NativeError } from "../../src/native/native-error.ts";

test("a full disk is told with what to do, also where the engine names the file", () => {
  const advice = "free some space there (a running broker writes on by itself)";
  const named = new NativeError(status.NO_SPACE, "write data/a.tmp: No space left on device");
  expect(named.message).toBe(`write data/a.tmp: No space left on device; ${advice}`);
  expect(new NativeError(status.NO_SPACE, "").message).toEndWith(advice);
  expect(new NativeError(status.CORRUPT, "data/a: bad checksum").message).toBe(
    "data/a: bad checksum",
  );
});
