/**
 * What every generated message file exports, and the three choices behind its types:
 *
 * 1. One interface per struct, in the shape an *encoder* takes. A field is optional (`field?: T`)
 *    when it is tagged, has an explicit default in Kafka's definition, or is missing from some
 *    version chronik speaks; leaving it out means its default. All other fields are required.
 * 2. A decoder always sets every field, to its default where the version lacks it, and says so:
 *    it returns `Decoded<T>`, the same struct with nothing optional, at any depth. A `Decoded<T>`
 *    is a `T`, so what was decoded can be encoded again.
 * 3. Encoding a non-default value into a version without that field is a bug of the caller and
 *    fails an assertion, unless Kafka marks the field ignorable.
 *
 * int64 is a saturating `number` (see int64.ts), uuid a 22-character string (see uuid.ts), bytes
 * and records are views into the request's buffer; encoders also take records in pieces.
 */
import { AssertionError } from "../lib/assert.ts";
import type { Pieces } from "./pieces.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

/** A struct as decoders return it: no optional field, at any depth. */
export type Decoded<T> = T extends Pieces
  ? never
  : T extends string | number | bigint | boolean | null | Uint8Array
    ? T
    : T extends readonly (infer Item)[]
      ? Decoded<Item>[]
      : { [Key in keyof T]-?: Decoded<T[Key]> };

/** `flexibleFrom` of a message that no version makes flexible. */
export const neverFlexible = 32_768;

/** One API: both messages, all versions. */
export interface ApiCodec<Request, Response> {
  readonly key: number;
  /** Kafka's name, such as "Produce". */
  readonly name: string;
  readonly minVersion: number;
  /** Highest stable version. */
  readonly maxVersion: number;
  /** A version above `maxVersion` that Kafka calls unstable; coded, never to be advertised. */
  readonly unstableVersion?: number;
  /** First version with compact types and tagged fields; `neverFlexible` if there is none. */
  readonly flexibleFrom: number;
  decodeRequest(r: Reader, version: number): Decoded<Request>;
  encodeRequest(w: Writer, m: Request, version: number): void;
  decodeResponse(r: Reader, version: number): Decoded<Response>;
  encodeResponse(w: Writer, m: Response, version: number): void;
}

/** One message that is not part of an API: embedded data, or a record of an internal topic. */
export interface DataCodec<Message> {
  readonly name: string;
  /** What the int16 in front of an internal topic's key says, for such records only. */
  readonly recordType?: number;
  readonly minVersion: number;
  readonly maxVersion: number;
  readonly flexibleFrom: number;
  decode(r: Reader, version: number): Decoded<Message>;
  encode(w: Writer, m: Message, version: number): void;
}

/** For encoders: a value was given that this version cannot carry. */
export function unsupportedField(field: string, version: number): never {
  throw new AssertionError(`version ${version} has no ${field}, but a value was given`);
}

/** For encoders: the value of a field that may be null, but not in this version. */
export function notNull<T>(value: T | null, field: string, version: number): T {
  if (value === null) throw new AssertionError(`${field} must not be null in version ${version}`);
  return value;
}
