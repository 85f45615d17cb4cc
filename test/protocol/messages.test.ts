/** Every message in every version: values survive, bytes survive, nonsense is refused. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { AssertionError } from "../../src/lib/assert.ts";
import { ProtocolError } from "../../src/lib/errors.ts";
import { neverFlexible } from "../../src/protocol/api-codec.ts";
import { apiInfos } from "../../src/protocol/api-key.ts";
import { Reader } from "../../src/protocol/reader.ts";
import { Writer } from "../../src/protocol/writer.ts";
import { apiCodecs, codecOf, decodeAll, encodeToBytes, hex } from "./support/codecs.ts";
import { makeSample } from "./support/sample.ts";
import {
  type Choices,
  covers,
  defaultValue,
  type MessageSchema,
  makeValue,
  messageSchemas,
  type StructValue,
  type Value,
  versionsOf,
} from "./support/schema.ts";

const runsPerVersion = 15;

/** Choices of fast-check, so that a counterexample shrinks. */
function valueArbitrary(schema: MessageSchema, version: number): fc.Arbitrary<StructValue> {
  return fc.gen().map((gen) => {
    const choices: Choices = {
      integer: (lo, hi) => gen(fc.integer, { min: lo, max: hi }),
      isNull: () => gen(fc.boolean),
      length: () => gen(fc.nat, { max: 3 }),
      isDefault: () => gen(fc.boolean),
      string: () => gen(fc.string, { unit: "binary", maxLength: 50 }),
      double: () => gen(fc.double, { noNaN: true }),
      bytes: () => gen(fc.uint8Array, { maxLength: 20 }),
    };
    return makeValue(schema, version, choices);
  });
}

/** Everything set, as little as can be of each. */
function smallValue(schema: MessageSchema, version: number): StructValue {
  return makeValue(schema, version, {
    integer: (lo, hi) => Math.max(lo, Math.min(hi, 1)),
    isNull: () => false,
    length: () => 1,
    isDefault: () => false,
    string: () => "ab",
    double: () => 1.5,
    bytes: () => new Uint8Array([1]),
  });
}

function eachVersion(schema: MessageSchema, body: (version: number) => void): void {
  for (const version of versionsOf(schema)) body(version);
}

describe.each(messageSchemas.map((schema) => [schema.name, schema] as const))("%s", (_, schema) => {
  const codec = codecOf(schema.name);

  test("what is encoded decodes to the same, and encodes to the same bytes again", () => {
    eachVersion(schema, (version) => {
      const property = fc.property(valueArbitrary(schema, version), (value) => {
        const bytes = encodeToBytes(codec, value, version);
        const decoded = decodeAll(codec, bytes, version);
        expect(decoded).toEqual(value);
        expect(hex(encodeToBytes(codec, decoded, version))).toBe(hex(bytes));
      });
      fc.assert(property, { numRuns: runsPerVersion });
    });
  });

  test("a field the version lacks must be at its default, unless it is ignorable", () => {
    eachVersion(schema, (version) => {
      const base = makeSample(schema, version, "sparse");
      for (const field of schema.structs[schema.name] ?? []) {
        if (covers(field.versions, version)) continue;
        if (!versionsOf(schema).some((other) => covers(field.versions, other))) continue;
        const given = { ...base, [field.name]: otherThanDefault(schema, field) };
        const encode = () => encodeToBytes(codec, given, version);
        if (field.ignorable !== true) expect(encode).toThrow(AssertionError);
        else expect(decodeAll(codec, encode(), version)).toEqual(base);
      }
    });
  });

  test("tagged fields nobody knows are passed over", () => {
    eachVersion(schema, (version) => {
      if (!covers(schema.flexible, version)) return;
      const value = makeSample(schema, version, "sparse");
      const bytes = encodeToBytes(codec, value, version);
      expect(bytes.at(-1)).toBe(0);
      const unknown = [2, 77, 3, 0xaa, 0xbb, 0xcc, 0xe8, 0x07, 0];
      const extended = Buffer.concat([bytes.subarray(0, -1), Uint8Array.from(unknown)]);
      expect(decodeAll(codec, extended, version)).toEqual(value);
    });
  });

  test("cut short anywhere, it is a ProtocolError", () => {
    eachVersion(schema, (version) => {
      const bytes = encodeToBytes(codec, smallValue(schema, version), version);
      for (let length = 0; length < bytes.length; length++) {
        const decode = () => codec.decode(new Reader(bytes.subarray(0, length)), version);
        expect(decode).toThrow(ProtocolError);
      }
    });
  });

  test("absurd numbers anywhere are a ProtocolError or a small value", () => {
    eachVersion(schema, (version) => {
      const bytes = encodeToBytes(codec, smallValue(schema, version), version);
      const hostile = new Uint8Array(bytes.length);
      for (const absurd of [
        "7fffffff",
        "80000000",
        "ffffffff0f",
        "ffffffff7f",
        "fffffffe",
        "7fff",
      ]) {
        const patch = Buffer.from(absurd, "hex");
        for (let at = 0; at + patch.length <= bytes.length; at++) {
          hostile.set(bytes);
          hostile.set(patch, at);
          expectValueOrProtocolError(() => codec.decode(new Reader(hostile), version));
        }
      }
    });
  });

  test("random bytes are a ProtocolError or a value that encodes", () => {
    eachVersion(schema, (version) => {
      const property = fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const value = expectValueOrProtocolError(() => codec.decode(new Reader(bytes), version));
        if (value !== undefined) codec.encode(new Writer(), value, version);
      });
      fc.assert(property, { numRuns: runsPerVersion });
    });
  });
});

describe("the set of codecs", () => {
  test("covers all that the schemas list, and nothing else", () => {
    const apis = messageSchemas.filter(({ kind }) => kind === "request");
    expect(apiCodecs.map(({ key }) => key)).toEqual(apis.map(({ key }) => Number(key)));
    expect(apiCodecs.length).toBe(79);
  });

  test("agrees with the table of APIs", () => {
    for (const api of apiCodecs) {
      const info = apiInfos.get(api.key);
      expect(info).toMatchObject({
        name: api.name,
        min: api.minVersion,
        max: api.maxVersion,
        flexibleFrom: api.flexibleFrom,
      });
      expect(info?.requestListeners).toContain("broker");
    }
    expect(apiInfos.get(17)?.flexibleFrom).toBe(neverFlexible);
  });

  test("keeps an unstable version out of the stable range", () => {
    const initProducerId = apiCodecs.find(({ key }) => key === 22);
    expect(initProducerId).toMatchObject({ maxVersion: 5, unstableVersion: 6 });
    expect(apiCodecs.filter((api) => api.unstableVersion !== undefined).length).toBe(1);
  });
});

function otherThanDefault(
  schema: MessageSchema,
  field: NonNullable<MessageSchema["structs"][string]>[number],
): Value {
  const usual = defaultValue(schema, field);
  if (field.type.startsWith("[]")) return [defaultOfType(schema, field.type.slice(2))];
  const struct = schema.structs[field.type];
  if (struct !== undefined) {
    const all = defaultOfType(schema, field.type) as StructValue;
    if (usual === null) return all;
    const changed = struct.find(({ type }) => type.startsWith("int") || type === "string");
    if (changed === undefined) throw new Error(`${field.type} has no simple field`);
    return { ...all, [changed.name]: otherThanDefault(schema, changed) };
  }
  if (typeof usual === "boolean") return !usual;
  if (typeof usual === "number") return usual === 7 ? 8 : 7;
  if (typeof usual === "bigint") return 7n;
  if (field.type === "uuid") return "AAAAAAAAAAAAAAAAAAAAAQ";
  return field.type === "string" ? "other" : new Uint8Array([1]);
}

function defaultOfType(schema: MessageSchema, type: string): Value {
  return defaultValue(schema, { name: type, type });
}

function expectValueOrProtocolError<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return undefined;
  }
}
