import { BrokerError } from "../lib/errors.ts";

/** How the process ends, for scripts and service managers; each number keeps its meaning. */
export const exitCodes = {
  ok: 0,
  /** The operation failed, or a bug ended the process. */
  failed: 1,
  /** The command line or the configuration is wrong. */
  usage: 2,
  /** An address to listen on is in use. */
  portInUse: 3,
  /** A broker to talk to cannot be reached, or did not answer in time. */
  unreachable: 6,
  /** Stored data is damaged. */
  damaged: 7,
  /** Another process uses the data directory. */
  locked: 8,
  /** Writing or fsync failed; the process ended itself so that nothing wrong is acknowledged. */
  fsyncFailed: 9,
  /** Too many unclean ends in a row. */
  crashLoop: 10,
  /** The event loop stood still; the process ended itself. */
  loopSilent: 11,
  /** The data directory cannot be created, read or written. */
  unusableDataDir: 12,
  /** The native library cannot be loaded: wrong build, old libc, or a `noexec` folder. */
  native: 13,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Codes of BrokerErrors that have an exit code of their own; everything else is `failed`. */
const byErrorCode: Readonly<Record<string, ExitCode>> = {
  CHRONIK_USAGE: exitCodes.usage,
  CHRONIK_CONFIG: exitCodes.usage,
  CHRONIK_PORT_IN_USE: exitCodes.portInUse,
  CHRONIK_UNREACHABLE: exitCodes.unreachable,
  CHRONIK_DATA_DAMAGED: exitCodes.damaged,
  CHRONIK_DAMAGED: exitCodes.damaged,
  CHRONIK_CORRUPT: exitCodes.damaged,
  CHRONIK_METADATA_DAMAGED: exitCodes.damaged,
  CHRONIK_DATA_DIR_LOCKED: exitCodes.locked,
  CHRONIK_DATA_DIR_UNUSABLE: exitCodes.unusableDataDir,
  CHRONIK_IO: exitCodes.unusableDataDir,
  CHRONIK_NO_SPACE: exitCodes.unusableDataDir,
  CHRONIK_NATIVE_UNWRITABLE: exitCodes.unusableDataDir,
  CHRONIK_NATIVE_NOEXEC: exitCodes.native,
  CHRONIK_NATIVE_LIBC: exitCodes.native,
  CHRONIK_NATIVE_ABI: exitCodes.native,
  CHRONIK_NATIVE_LOAD: exitCodes.native,
  CHRONIK_NATIVE_MISSING: exitCodes.native,
  CHRONIK_NATIVE_DAMAGED: exitCodes.native,
};

/** The exit code that tells what went wrong. */
export function exitCodeOf(error: unknown): ExitCode {
  if (!(error instanceof BrokerError)) return exitCodes.failed;
  return byErrorCode[error.code] ?? exitCodes.failed;
}
