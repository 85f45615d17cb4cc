import { CString, type Pointer } from "bun:ffi";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { BrokerError } from "../../src/lib/errors.ts";
import { checkLibc, loadError, openLibrary, systemLibc } from "../../src/native/library.ts";
import { compileStub, tempFolder } from "./stub.ts";

const folder = tempFolder();
let stub = "";
beforeAll(() => {
  stub = compileStub(folder.path, "stub", "ABI=7");
});
afterAll(() => folder[Symbol.dispose]());

function refusal(open: () => unknown): BrokerError {
  try {
    open();
  } catch (error) {
    if (error instanceof BrokerError) {
      expect(error.message).not.toContain("\n");
      return error;
    }
    throw error;
  }
  throw new Error("the library was opened");
}

describe("the function table", () => {
  const open = () => openLibrary({ dataDir: null, expectedAbi: 7, path: stub }).symbols;
  test("passes lengths, handles of 64 bits and out-parameters", () => {
    const native = open();
    const doorbell = new Int32Array(1);
    const engineOut = new BigUint64Array(1);
    const json = new TextEncoder().encode("{}");
    expect(native.chronik_open(json, json.length, doorbell, engineOut)).toBe(0);
    expect(doorbell[0]).toBe(2);
    const engine = engineOut[0] ?? 0n;
    expect(engine).toBe(0xfedcba9876543210n + 123n);
    expect(native.chronik_submit(engine, new Uint8Array([5, 6]), 2)).toBe(7);
    expect(native.chronik_submit(1n, new Uint8Array([5]), 1)).toBe(-1);
    const out = new Uint8Array(16);
    const used = new BigUint64Array(1);
    expect(native.chronik_reap(engine, out, 4, used)).toBe(Number(engine & 0xffn));
    expect([...out.subarray(0, 6)]).toEqual([7, 7, 7, 7, 0, 0]);
    expect(used[0]).toBe(4n);
    expect(native.chronik_read(engine, 2 ** 40, 2 ** 52, out, 8, used)).toBe(-3);
    expect(used[0]).toBe(2n ** 40n);
    expect(new DataView(out.buffer).getBigUint64(0, true)).toBe(2n ** 52n);
    const [command, raw] = [new Uint8Array([5, 6]), new Uint8Array([7, 8, 9])];
    expect(native.chronik_submit_lent(engine, command, 2, raw, 3)).toBe(17);
    const parts = new BigUint64Array(2);
    expect(native.chronik_take(engine, 2 ** 30, parts)).toBe(0);
    expect(new CString(Number(parts[0]) as Pointer).toString()).toBe("handed over");
    expect(parts[1]).toBe(engine + 2n ** 30n);
    expect(Number(native.chronik_releaser())).toBeGreaterThan(0);
    expect(native.chronik_check(new Uint8Array([9, 8, 7]), 3, out, 2)).toBe(2);
    expect([...out.subarray(0, 3)]).toEqual([9, 8, 0]);
    expect(native.chronik_last_error(engine, out, 16)).toBe(7);
    expect(new TextDecoder().decode(out.subarray(0, 7))).toBe("no disk");
    expect(native.chronik_close(engine)).toBe(0);
    expect(native.chronik_close(0n)).toBe(-1);
  });
});

describe("a library that does not fit", () => {
  test("another interface version names both", () => {
    const error = refusal(() => openLibrary({ dataDir: null, expectedAbi: 8, path: stub }));
    expect(error.code).toBe("CHRONIK_NATIVE_ABI");
    expect(error.message).toContain(`${stub} speaks native interface 7 and this program 8`);
  });
  test("a missing function is named", () => {
    const path = compileStub(folder.path, "short", "ABI=7", "WITHOUT_CLOSE");
    const error = refusal(() => openLibrary({ dataDir: null, expectedAbi: 7, path }));
    expect(error.code).toBe("CHRONIK_NATIVE_LOAD");
    expect(error.message).toContain("it lacks chronik_close");
  });
  test("a file that is no library, and one that is not there", async () => {
    const path = join(folder.path, "text.so");
    await Bun.write(path, "not a library");
    for (const wrong of [path, join(folder.path, "absent.so")]) {
      const error = refusal(() => openLibrary({ dataDir: null, expectedAbi: 7, path: wrong }));
      expect(error.code).toBe("CHRONIK_NATIVE_LOAD");
      expect(error.message).toStartWith(`${wrong} cannot be loaded (`);
    }
  });
});

describe("what the loader says in an operator's words", () => {
  test("noexec", () => {
    const error = loadError(
      "/data/lib/x.so",
      "/data/lib/x.so: failed to map segment from shared object",
      null,
    );
    expect(error.code).toBe("CHRONIK_NATIVE_NOEXEC");
    expect(error.message).toContain("noexec");
    expect(error.message).toContain("--data-dir");
  });
  test("an old libc", () => {
    const reason = "libc.so.6: version `GLIBC_2.99' not found (required by x.so)";
    const error = loadError("x.so", reason, null);
    expect(error.code).toBe("CHRONIK_NATIVE_LIBC");
    expect(error.message).toContain("chronik needs glibc 2.99 or newer");
  });
});

describe("the system's libc", () => {
  test("is told", () => {
    expect(systemLibc()).toMatch(/^2\.\d+$/);
  });
  test.each([
    ["2.34", "2.31", true],
    ["2.34", "2.4", true],
    ["2.34", "1.99", true],
    ["2.34", "2.34", false],
    ["2.34", "2.100", false],
    ["2.34", "3.0", false],
  ])("needed %p, running %p", (needed, running, old) => {
    if (!old) return expect(() => checkLibc(needed, running)).not.toThrow();
    const error = refusal(() => checkLibc(needed, running));
    expect(error.code).toBe("CHRONIK_NATIVE_LIBC");
    expect(error.message).toContain(`libc is glibc ${running}`);
    expect(error.message).toContain("Debian 12");
  });
  test("that cannot be told is left to the loader", () => {
    expect(() => checkLibc("2.34", null)).not.toThrow();
  });
});
