import { BrokerError } from "../lib/errors.ts";
import { status, statusName } from "./abi.ts";

const noSpaceAdvice = "free some space there (a running broker writes on by itself)";

const meanings: Partial<Record<ReturnType<typeof statusName>, string>> = {
  BUSY: "the engine's submission queue is full",
  POISONED: "the engine is ending the process after a failed write or fsync",
  NO_SPACE: `no space left on the data directory's disk; ${noSpaceAdvice}`,
  IO: "reading or writing the data directory failed",
  CORRUPT: "stored bytes fail their checksum",
  LOCKED: "the data directory is used by another process",
  UNKNOWN_VERSION: "the files were written by a newer chronik",
  DAMAGED: "acknowledged bytes are damaged",
  CLOSED: "the engine is closed",
};

/** An error status of the engine: `code` is `CHRONIK_` + its name in ffi/chronik.h. */
export class NativeError extends BrokerError {
  readonly status: number;

  constructor(code: number, text: string) {
    const name = statusName(code);
    const meaning = meanings[name] ?? `the engine answered ${name} (${code})`;
    // The engine's own text names the file, and not what to do.
    const advised = text !== "" && code === status.NO_SPACE ? `${text}; ${noSpaceAdvice}` : text;
    super(`CHRONIK_${name}`, advised || meaning);
    this.status = code;
  }
}

/** True for a status that says what is wrong with a batch (chronik_check, validate). */
export function isBatchStatus(code: number): boolean {
  return code <= status.BATCH_CRC && code >= status.BATCH_TOO_LARGE;
}
