import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { BrokerError } from "../../src/lib/errors.ts";
import type { EmbeddedLibrary } from "../../src/native/embedded.ts";
import { unpackLibrary } from "../../src/native/unpack.ts";
import { tempFolder } from "./stub.ts";

const bytes = new TextEncoder().encode("the library's bytes");
const sha256 = createHash("sha256").update(bytes).digest("hex");

function library(read: () => Uint8Array = () => bytes): EmbeddedLibrary {
  return { sha256, glibcMin: "2.34", read };
}

const modeOf = (path: string) => statSync(path).mode & 0o777;

describe("unpacking", () => {
  test("writes one file named by its hash, for its owner only", () => {
    using folder = tempFolder();
    const lib = join(folder.path, "a", "lib");
    const path = unpackLibrary(library(), lib);
    expect(path).toBe(join(lib, `${sha256}.so`));
    expect(readFileSync(path)).toEqual(Buffer.from(bytes));
    expect(readdirSync(lib)).toEqual([`${sha256}.so`]);
    expect([modeOf(lib), modeOf(path)]).toEqual([0o700, 0o700]);
  });
  test("leaves a good file alone", () => {
    using folder = tempFolder();
    const path = unpackLibrary(library(), folder.path);
    const inode = statSync(path).ino;
    const again = library(() => {
      throw new Error("was read again");
    });
    expect(unpackLibrary(again, folder.path)).toBe(path);
    expect(statSync(path).ino).toBe(inode);
  });
  test.each([
    ["cut short", bytes.subarray(0, 5)],
    ["changed", new TextEncoder().encode("the library's bytez")],
    ["empty", new Uint8Array()],
  ])("replaces a file that was %s", (_, damaged) => {
    using folder = tempFolder();
    const path = unpackLibrary(library(), folder.path);
    writeFileSync(path, damaged);
    unpackLibrary(library(), folder.path);
    expect(readFileSync(path)).toEqual(Buffer.from(bytes));
  });
  test("takes back permissions that others were given", () => {
    using folder = tempFolder();
    const path = unpackLibrary(library(), folder.path);
    chmodSync(path, 0o777);
    chmodSync(folder.path, 0o777);
    unpackLibrary(library(), folder.path);
    expect([modeOf(folder.path), modeOf(path)]).toEqual([0o700, 0o700]);
  });
  test("removes libraries of other releases and nothing else", () => {
    using folder = tempFolder();
    const old = join(folder.path, `${"0".repeat(64)}.so`);
    const other = join(folder.path, "notes.so");
    writeFileSync(old, "x");
    writeFileSync(other, "x");
    unpackLibrary(library(), folder.path);
    expect([existsSync(old), existsSync(other)]).toEqual([false, true]);
  });
});

describe("a folder that cannot be used is named, with what to do", () => {
  function refusal(folder: string, embedded = library()): BrokerError {
    try {
      unpackLibrary(embedded, folder);
    } catch (error) {
      if (error instanceof BrokerError) return error;
      throw error;
    }
    throw new Error("it was used");
  }
  test("below a file", () => {
    using folder = tempFolder();
    const file = join(folder.path, "file");
    writeFileSync(file, "");
    const error = refusal(join(file, "lib"));
    expect(error.code).toBe("CHRONIK_NATIVE_UNWRITABLE");
    expect(error.message).toContain(join(file, "lib"));
    expect(error.message).toContain("--data-dir");
  });
  test("a folder stands where the file should", () => {
    using folder = tempFolder();
    mkdirSync(join(folder.path, `${sha256}.so`, "inside"), { recursive: true });
    expect(refusal(folder.path).code).toBe("CHRONIK_NATIVE_UNWRITABLE");
    expect(readdirSync(folder.path)).toEqual([`${sha256}.so`]);
  });
  test("bytes that are not what the build recorded", () => {
    using folder = tempFolder();
    const error = refusal(
      folder.path,
      library(() => new Uint8Array([1])),
    );
    expect(error.code).toBe("CHRONIK_NATIVE_DAMAGED");
  });
});
