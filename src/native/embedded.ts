import { readFileSync } from "node:fs";
import { join } from "node:path";

// Put in by scripts/build.ts; undefined when the sources run unbundled.
declare const CHRONIK_LIBRARY_SHA256: string | undefined;
declare const CHRONIK_LIBRARY_GLIBC: string | undefined;

/** The cdylib that travels inside the executable. */
export interface EmbeddedLibrary {
  /** SHA-256 of its bytes, in hex, taken at build time. */
  readonly sha256: string;
  /** The oldest glibc it loads on, such as `2.34`. */
  readonly glibcMin: string;
  readonly read: () => Uint8Array;
}

/** The library inside this executable, or null when the program runs from its sources. */
export function embeddedLibrary(): EmbeddedLibrary | null {
  if (typeof CHRONIK_LIBRARY_SHA256 === "undefined") return null;
  if (typeof CHRONIK_LIBRARY_GLIBC === "undefined") return null;
  return {
    sha256: CHRONIK_LIBRARY_SHA256,
    glibcMin: CHRONIK_LIBRARY_GLIBC,
    read: () => readFileSync(join(import.meta.dir, "libchronik.so")),
  };
}
