import { dlopen, FFIType } from "bun:ffi";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { BrokerError, errorText } from "../lib/errors.ts";
import { type EmbeddedLibrary, embeddedLibrary } from "./embedded.ts";
import { unpackLibrary } from "./unpack.ts";

/**
 * The native engine's functions, as `ffi/chronik.h` declares them, with the owners of buffers that
 * it names. Statuses: 0 fine, negative an error.
 */
export interface NativeSymbols {
  readonly chronik_abi: () => number;
  readonly chronik_open: (
    configJson: Uint8Array,
    configLength: number,
    doorbellFdOut: Int32Array,
    engineOut: BigUint64Array,
  ) => number;
  readonly chronik_submit: (engine: bigint, commands: Uint8Array, length: number) => number;
  readonly chronik_submit_lent: (
    engine: bigint,
    command: Uint8Array,
    length: number,
    raw: Uint8Array,
    rawLength: number,
  ) => number;
  readonly chronik_reap: (
    engine: bigint,
    out: Uint8Array,
    capacity: number,
    usedOut: BigUint64Array,
  ) => number;
  readonly chronik_read: (
    engine: bigint,
    token: number | bigint,
    offset: number | bigint,
    out: Uint8Array,
    capacity: number,
    usedOut: BigUint64Array,
  ) => number;
  readonly chronik_take: (engine: bigint, token: number, partsOut: BigUint64Array) => number;
  readonly chronik_releaser: () => number | bigint;
  readonly chronik_check: (
    batch: Uint8Array,
    length: number,
    infoOut: Uint8Array,
    infoCapacity: number,
  ) => number;
  readonly chronik_last_error: (engine: bigint, out: Uint8Array, capacity: number) => number;
  readonly chronik_close: (engine: bigint) => number;
}

export interface NativeLibrary {
  /** The file that was loaded. */
  readonly path: string;
  readonly symbols: NativeSymbols;
}

export interface LibraryOptions {
  /** Where the broker keeps its data; null for tools, which use the user's cache folder. */
  readonly dataDir: string | null;
  /** What `chronik_abi` must answer. */
  readonly expectedAbi: number;
  /** Another library than the one of this build; for tests. */
  readonly path?: string;
}

const { i32, ptr, u32, u64 } = FFIType;
const signatures = {
  chronik_abi: { args: [], returns: u32 },
  chronik_open: { args: [ptr, u64, ptr, ptr], returns: i32 },
  chronik_submit: { args: [u64, ptr, u64], returns: i32 },
  chronik_submit_lent: { args: [u64, ptr, u64, ptr, u64], returns: i32 },
  chronik_reap: { args: [u64, ptr, u64, ptr], returns: i32 },
  chronik_read: { args: [u64, u64, u64, ptr, u64, ptr], returns: i32 },
  chronik_take: { args: [u64, u64, ptr], returns: i32 },
  chronik_releaser: { args: [], returns: u64 },
  chronik_check: { args: [ptr, u64, ptr, u64], returns: i32 },
  chronik_last_error: { args: [u64, ptr, u64], returns: i32 },
  chronik_close: { args: [u64], returns: i32 },
} as const;

/**
 * Finds, unpacks and loads the native library. Throws a BrokerError that says in one sentence what
 * failed, where, and what to do: an old libc, an unwritable or `noexec` folder, a library of
 * another version. Call it once, on the main thread.
 */
export function openLibrary(options: LibraryOptions): NativeLibrary {
  const embedded = embeddedLibrary();
  if (embedded !== null) checkLibc(embedded.glibcMin, systemLibc());
  const path = options.path ?? locate(embedded, options.dataDir);
  const symbols: NativeSymbols = load(path);
  const abi = symbols.chronik_abi();
  if (abi !== options.expectedAbi) {
    throw new BrokerError(
      "CHRONIK_NATIVE_ABI",
      `${path} speaks native interface ${abi} and this program ${options.expectedAbi}: ` +
        "they come from different builds; build again with `bun run build`",
    );
  }
  return { path, symbols };
}

function locate(embedded: EmbeddedLibrary | null, dataDir: string | null): string {
  if (embedded !== null) {
    return unpackLibrary(embedded, dataDir === null ? cacheFolder() : resolve(dataDir, "lib"));
  }
  const ffi = resolve(import.meta.dir, "..", "..", "ffi");
  const path = resolve(ffi, process.env["CARGO_TARGET_DIR"] || "target", "release/libchronik.so");
  if (existsSync(path)) return path;
  throw new BrokerError(
    "CHRONIK_NATIVE_MISSING",
    `${path} does not exist: build it with \`bun scripts/setup.ts\``,
  );
}

/** `$XDG_CACHE_HOME/chronik`, or `~/.cache/chronik`. */
function cacheFolder(): string {
  const base = process.env["XDG_CACHE_HOME"];
  // A relative value is invalid by the XDG base directory specification.
  return base?.startsWith("/") ? join(base, "chronik") : join(homedir(), ".cache", "chronik");
}

function load(path: string): NativeSymbols {
  try {
    return dlopen(path, signatures).symbols;
  } catch (cause) {
    throw loadError(path, errorText(cause), cause);
  }
}

/** Says what the loader's own words mean for an operator. */
export function loadError(path: string, reason: string, cause: unknown): BrokerError {
  if (/failed to map segment|Operation not permitted/i.test(reason)) {
    return new BrokerError(
      "CHRONIK_NATIVE_NOEXEC",
      `${path} cannot be loaded because its file system forbids running code (mounted noexec?): ` +
        "mount it without noexec or choose another folder with --data-dir",
      { cause },
    );
  }
  const libc = /GLIBC_([\d.]+)/.exec(reason)?.[1];
  if (libc !== undefined) return libcError(libc, systemLibc());
  const symbol = /Symbol "(\w+)" not found/.exec(reason)?.[1];
  const what = symbol === undefined ? reason.replace(/\s+/g, " ").trim() : `it lacks ${symbol}`;
  return new BrokerError(
    "CHRONIK_NATIVE_LOAD",
    `${path} cannot be loaded (${what}): ` +
      "it comes from another build or is damaged; delete it and start again",
    { cause },
  );
}

/** Throws when the running libc is older than the library needs; unknown (null) passes. */
export function checkLibc(needed: string, running: string | null): void {
  if (running === null) return;
  const [neededMajor = 0, neededMinor = 0] = needed.split(".").map(Number);
  const [runningMajor = 0, runningMinor = 0] = running.split(".").map(Number);
  const older =
    runningMajor < neededMajor || (runningMajor === neededMajor && runningMinor < neededMinor);
  if (older) throw libcError(needed, running);
}

function libcError(needed: string, running: string | null): BrokerError {
  return new BrokerError(
    "CHRONIK_NATIVE_LIBC",
    `this system's libc is glibc ${running ?? "of an unknown version"} and chronik needs glibc ` +
      `${needed} or newer: run it on Debian 12, Ubuntu 22.04, RHEL 9 or anything newer`,
  );
}

/** The version of glibc this process runs on, such as `2.36`; null where it cannot be told. */
export function systemLibc(): string | null {
  try {
    const libc = dlopen("libc.so.6", {
      gnu_get_libc_version: { args: [], returns: FFIType.cstring },
    });
    const version = String(libc.symbols.gnu_get_libc_version());
    return /^\d+\.\d+/.test(version) ? version : null;
  } catch {
    // Not glibc: the loader will say what is missing.
    return null;
  }
}
