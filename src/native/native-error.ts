import { BrokerError } from "../lib/errors.ts";
import { status, statusName } from "./abi.ts";

const meanings: Partial<Record<ReturnType<typeof statusName>, string>> = {
  BUSY: "the engine's submission queue is full",
  POISONED: "the engine is ending the process after a failed write or fsync",
  NO_SPACE:
    "no space left on the data directory's disk; free some space there (writing goes on by itself)",
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
    super(`CHRONIK_${name}`, text || meanings[name] || `the engine answered ${name} (${code})`);
    this.status = code;
  }
}

/** True for a status that says what is wrong with a batch (chronik_check, validate). */
export function isBatchStatus(code: number): boolean {
  return code <= status.BATCH_CRC && code >= status.BATCH_TOO_LARGE;
}
