/** The mirror of ffi/chronik.h: numbers and layouts, nothing else. test/native/abi.test.ts compares
 * every one of them with the header. All integers are little-endian, all structs packed. */

export const abiVersion = 2;

export const commandHeaderBytes = 24;
export const completionBytes = 40;
export const batchInfoBytes = 24;
/** chronik_append and chronik_read_range, in front of a command's bytes. */
export const appendHeaderBytes = 24;
export const readRangeBytes = 24;

/** What `chronik_abi()` must answer: version and struct sizes in one number. */
export const expectedAbi =
  (abiVersion | (commandHeaderBytes << 8) | (completionBytes << 16) | (batchInfoBytes << 24)) >>> 0;

export const op = { append: 1, read: 2, job: 3 } as const;

/** Bit 0 of a completion's flags: a result waits for chronik_read. */
export const completionHasResult = 1;
/** Bits of chronik_batch_info.flags. */
export const batchCompressed = 1;
export const batchKeyless = 2;

export const status = {
  OK: 0,
  INTERNAL: -1,
  INVALID_ARGUMENT: -2,
  BUSY: -3,
  POISONED: -4,
  NO_SPACE: -5,
  IO: -6,
  CORRUPT: -7,
  LOCKED: -8,
  NOT_FOUND: -9,
  EXISTS: -10,
  UNKNOWN_VERSION: -11,
  TOO_LARGE: -12,
  OUT_OF_RANGE: -13,
  DAMAGED: -14,
  CLOSED: -15,
  BATCH_CRC: -32,
  BATCH_MAGIC: -33,
  BATCH_LENGTH: -34,
  BATCH_COUNT: -35,
  BATCH_ATTRIBUTES: -36,
  BATCH_RECORDS: -37,
  BATCH_TOO_LARGE: -38,
} as const;

export type StatusName = keyof typeof status;

const names = new Map<number, StatusName>(
  (Object.keys(status) as StatusName[]).map((name) => [status[name], name]),
);

/** The name of a status without its CHRONIK_ prefix; INTERNAL for a number the header lacks. */
export function statusName(code: number): StatusName {
  return names.get(code) ?? "INTERNAL";
}
