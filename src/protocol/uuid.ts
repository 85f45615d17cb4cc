/** Uuids as Kafka prints them: 16 bytes in base64url without padding, always 22 characters. */
import { assert } from "../lib/assert.ts";

/** Kafka's "no uuid": sixteen zero bytes. */
export const zeroUuid = "AAAAAAAAAAAAAAAAAAAAAA";

const uuidChars = 22;
const uuidBytes = 16;
const canonicalUuid = /^[A-Za-z0-9_-]{21}[AQgw]$/;

/** A random uuid; like Kafka's, never one that a command line could take for an option. */
export function newUuid(): string {
  for (;;) {
    const text = Buffer.from(crypto.getRandomValues(new Uint8Array(uuidBytes))).toString(
      "base64url",
    );
    if (!text.startsWith("-")) return text;
  }
}

/** True for the 22-character text that some 16 bytes print as. */
export function isUuid(text: string): boolean {
  return canonicalUuid.test(text);
}

/** Text of the 16 bytes that start at `offset`. */
export function uuidFromBytes(bytes: Uint8Array, offset = 0): string {
  assert(offset >= 0 && offset + uuidBytes <= bytes.length, "a uuid takes 16 bytes");
  return Buffer.from(bytes.buffer, bytes.byteOffset + offset, uuidBytes).toString("base64url");
}

/** Sixteen fresh bytes of `text`, which must be a canonical uuid. */
export function uuidToBytes(text: string): Uint8Array {
  assert(text.length === uuidChars && isUuid(text), `not a uuid: "${text}"`);
  return new Uint8Array(Buffer.from(text, "base64url"));
}
