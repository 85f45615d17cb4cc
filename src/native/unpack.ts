import { createHash } from "node:crypto";
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { BrokerError, errorText } from "../lib/errors.ts";
import type { EmbeddedLibrary } from "./embedded.ts";

/**
 * Writes the embedded library to `{folder}/{sha256}.so` unless that very file is there already, and
 * returns its path. The bytes on disk are hashed at every start: a file that was cut short or
 * changed is written anew. This is the one file TypeScript writes (the engine that writes all
 * others is inside it).
 */
export function unpackLibrary(library: EmbeddedLibrary, folder: string): string {
  const path = join(folder, `${library.sha256}.so`);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if ((statSync(folder).mode & 0o777) !== 0o700) chmodSync(folder, 0o700);
    if (hashOf(path) !== library.sha256) write(library, folder, path);
    if ((statSync(path).mode & 0o777) !== 0o700) chmodSync(path, 0o700);
    removeOthers(folder, library.sha256);
  } catch (cause) {
    throw new BrokerError(
      "CHRONIK_NATIVE_UNWRITABLE",
      `the native library cannot be written to ${folder} (${errorText(cause)}): ` +
        "make that folder writable for this user or choose another one with --data-dir",
      { cause },
    );
  }
  if (hashOf(path) !== library.sha256) {
    throw new BrokerError(
      "CHRONIK_NATIVE_DAMAGED",
      `${path} does not hold the native library of this executable although it was just written: ` +
        "check that disk, then download chronik again and compare its sha256",
    );
  }
  return path;
}

/** SHA-256 of a file in hex; null when there is no such file. */
function hashOf(path: string): string | null {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found?.isFile()) return null;
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

/** Another start may do the same at the same time: each writes its own file, the rename decides. */
function write(library: EmbeddedLibrary, folder: string, path: string): void {
  const unfinished = join(folder, `${library.sha256}.${process.pid}.tmp`);
  try {
    const file = openSync(unfinished, "w", 0o700);
    try {
      writeFileSync(file, library.read());
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(unfinished, path);
  } finally {
    rmSync(unfinished, { force: true });
  }
}

/** Libraries of earlier releases; one still in use stays loaded though its name is gone. */
function removeOthers(folder: string, sha256: string): void {
  for (const name of readdirSync(folder)) {
    if (/^[0-9a-f]{64}\.so$/.test(name) && name !== `${sha256}.so`) rmSync(join(folder, name));
  }
}
