import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { AssertionError } from "../../src/lib/assert.ts";
import { ProtocolError } from "../../src/lib/errors.ts";
import { Pieces } from "../../src/protocol/pieces.ts";
import { Reader } from "../../src/protocol/reader.ts";
import { isUuid, uuidFromBytes, uuidToBytes, zeroUuid } from "../../src/protocol/uuid.ts";
import { Writer } from "../../src/protocol/writer.ts";
import { hex } from "./support/codecs.ts";

function written(write: (w: Writer) => void): string {
  const w = new Writer();
  write(w);
  return hex(w.bytesWritten());
}

function reader(bytes: string): Reader {
  return new Reader(Buffer.from(bytes, "hex"));
}

describe("int64", () => {
  const longs = [
    ["0000000000000000", 0],
    ["ffffffffffffffff", -1],
    ["00000000ffffffff", 4_294_967_295],
    ["0000000100000000", 4_294_967_296],
    ["ffffffff00000000", -4_294_967_296],
    ["fffffffeffffffff", -4_294_967_297],
    ["001ffffffffffffe", 2 ** 53 - 2],
    ["ffe0000000000002", -(2 ** 53) + 2],
  ] as const;

  test.each(longs)("%s is %d, both ways", (bytes, value) => {
    expect(reader(bytes).int64()).toBe(value);
    expect(written((w) => w.int64(value))).toBe(bytes);
  });

  const beyond = [
    ["001fffffffffffff", Number.MAX_SAFE_INTEGER],
    ["0020000000000000", Number.MAX_SAFE_INTEGER],
    ["7fffffffffffffff", Number.MAX_SAFE_INTEGER],
    ["ffe0000000000001", -Number.MAX_SAFE_INTEGER],
    ["ffe0000000000000", -Number.MAX_SAFE_INTEGER],
    ["ffdfffffffffffff", -Number.MAX_SAFE_INTEGER],
    ["8000000000000000", -Number.MAX_SAFE_INTEGER],
  ] as const;

  test.each(beyond)("%s saturates", (bytes, value) => {
    expect(reader(bytes).int64()).toBe(value);
  });

  test("the ends of the safe range are written as the ends of int64", () => {
    expect(written((w) => w.int64(Number.MAX_SAFE_INTEGER))).toBe("7fffffffffffffff");
    expect(written((w) => w.int64(-Number.MAX_SAFE_INTEGER))).toBe("8000000000000000");
    expect(written((w) => w.int64(2 ** 60))).toBe("7fffffffffffffff");
  });

  test("every other safe integer survives, as BigInt says", () => {
    const inner = fc.maxSafeInteger().filter((n) => Math.abs(n) < Number.MAX_SAFE_INTEGER);
    fc.assert(
      fc.property(inner, (value) => {
        const bytes = Buffer.alloc(8);
        bytes.writeBigInt64BE(BigInt(value));
        expect(written((w) => w.int64(value))).toBe(hex(bytes));
        expect(new Reader(bytes).int64()).toBe(value);
      }),
    );
  });
});

test("a bigint keeps all 64 bits, and no more", () => {
  expect(reader("5b1e238db4bad091").bigInt64()).toBe(0x5b1e_238d_b4ba_d091n);
  expect(written((w) => w.bigInt64(-(2n ** 63n)))).toBe("8000000000000000");
  expect(() => new Writer().bigInt64(2n ** 63n)).toThrow(AssertionError);
});

describe("varints", () => {
  const unsigned = [
    ["00", 0],
    ["7f", 127],
    ["8001", 128],
    ["ac02", 300],
    ["ffffffff0f", 4_294_967_295],
  ] as const;

  test.each(unsigned)("%s is %d, both ways", (bytes, value) => {
    expect(reader(bytes).unsignedVarint()).toBe(value);
    expect(written((w) => w.unsignedVarint(value))).toBe(bytes);
  });

  test.each(["ffffffff10", "ffffffffff01", "808080808000", "80", "ffff"])(
    "%s is refused",
    (bytes) => {
      expect(() => reader(bytes).unsignedVarint()).toThrow(ProtocolError);
      expect(() => reader(bytes).varint()).toThrow(ProtocolError);
    },
  );

  test("zig-zag of 32 bits", () => {
    expect(written((w) => w.varint(-1))).toBe("01");
    expect(written((w) => w.varint(2_147_483_647))).toBe("feffffff0f");
    expect(written((w) => w.varint(-2_147_483_648))).toBe("ffffffff0f");
    fc.assert(
      fc.property(fc.integer(), (value) => {
        expect(reader(written((w) => w.varint(value))).varint()).toBe(value);
      }),
    );
  });

  test("zig-zag of 64 bits", () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        const r = reader(written((w) => w.varlong(value)));
        expect(r.varlong()).toBe(value);
        expect(r.remaining).toBe(0);
      }),
    );
    expect(reader("feffffffffffffffff01").varlong()).toBe(Number.MAX_SAFE_INTEGER);
    expect(reader("ffffffffffffffffff01").varlong()).toBe(-Number.MAX_SAFE_INTEGER);
    expect(reader("80808080808080808000").varlong()).toBe(0);
  });

  test.each(["ffffffffffffffffff02", "ffffffffffffffffffff01", "8080808080808080"])(
    "%s is refused as 64 bits",
    (bytes) => {
      expect(() => reader(bytes).varlong()).toThrow(ProtocolError);
    },
  );
});

describe("strings and bytes", () => {
  test("short ASCII, long ASCII and anything else take the same form", () => {
    expect(written((w) => w.string("abc"))).toBe("0003616263");
    expect(written((w) => w.compactString("abc"))).toBe("04616263");
    expect(written((w) => w.string("é"))).toBe("0002c3a9");
    expect(written((w) => w.compactString("é"))).toBe("03c3a9");
    expect(written((w) => w.nullableString(null))).toBe("ffff");
    expect(written((w) => w.compactNullableString(null))).toBe("00");
    const long = "x".repeat(300);
    expect(reader(written((w) => w.compactString(long))).compactString()).toBe(long);
    expect(reader(written((w) => w.string(long))).string()).toBe(long);
  });

  test("a string that int16 cannot count is a bug of the caller", () => {
    expect(written((w) => w.string("x".repeat(32_767)))).toStartWith("7fff");
    expect(() => new Writer().string("x".repeat(32_768))).toThrow(AssertionError);
    expect(() => new Writer().string("é".repeat(20_000))).toThrow(AssertionError);
  });

  test("null where null is not allowed is refused", () => {
    expect(() => reader("ffff").string()).toThrow(ProtocolError);
    expect(() => reader("00").compactString()).toThrow(ProtocolError);
    expect(() => reader("ffffffff").bytes()).toThrow(ProtocolError);
    expect(() => reader("00").compactBytes()).toThrow(ProtocolError);
    expect(() => reader("ffffffff").arrayLength(1)).toThrow(ProtocolError);
    expect(() => reader("00").compactArrayLength(1)).toThrow(ProtocolError);
  });

  test("a length below −1 is never null", () => {
    expect(() => reader("fffe").nullableString()).toThrow(ProtocolError);
    expect(() => reader("fffffffe").nullableBytes()).toThrow(ProtocolError);
    expect(() => reader("fffffffe").nullableArrayLength(1)).toThrow(ProtocolError);
  });

  test("bytes are a view into the input, wherever it starts", () => {
    const outer = Buffer.from("ffffff00000002abcd", "hex");
    const view = new Reader(outer.subarray(3)).bytes();
    expect(hex(view)).toBe("abcd");
    outer[7] = 0x11;
    expect(hex(view)).toBe("11cd");
  });

  test("malformed UTF-8 reads as U+FFFD", () => {
    expect(reader("0001ff").string()).toBe("\ufffd");
  });
});

describe("limits", () => {
  test("a count must fit the bytes that remain", () => {
    expect(reader("0000000200000000").arrayLength(2)).toBe(2);
    expect(() => reader("0000000300000000").arrayLength(2)).toThrow(ProtocolError);
    expect(() => reader("7fffffff00000000").arrayLength(1)).toThrow(ProtocolError);
    expect(() => reader("ffffffff0f00000000").compactArrayLength(1)).toThrow(ProtocolError);
    expect(() => reader("03ffff").skipTags()).toThrow(ProtocolError);
  });

  test("a tagged field cannot read past its size, nor leave part of it", () => {
    const short = reader("0201ff");
    short.enterTag();
    short.int8();
    short.int8();
    expect(() => short.int8()).toThrow(ProtocolError);
    const long = reader("0201ff");
    const outer = long.enterTag();
    long.int8();
    expect(() => long.leaveTag(outer)).toThrow(ProtocolError);
    expect(() => reader("0501ff").enterTag()).toThrow(ProtocolError);
  });

  test("a long tagged field gets a size of two bytes", () => {
    const text = "x".repeat(200);
    const bytes = written((w) => {
      const start = w.beginTag(5);
      w.compactString(text);
      w.endTag(start);
      w.int8(1);
    });
    const r = reader(bytes);
    expect(r.unsignedVarint()).toBe(5);
    const outer = r.enterTag();
    expect(r.compactString()).toBe(text);
    r.leaveTag(outer);
    expect(r.int8()).toBe(1);
    expect(r.remaining).toBe(0);
  });
});

const noBytes = new Uint8Array(0);

describe("writer", () => {
  test("grows, frames and starts over", () => {
    const w = new Writer(1);
    const frame = w.beginFrame();
    for (let n = 0; n < 1000; n++) w.int32(n);
    w.endFrame(frame);
    const r = new Reader(w.bytesWritten());
    expect(r.int32()).toBe(4000);
    for (let n = 0; n < 1000; n++) expect(r.int32()).toBe(n);
    expect(w.reset().length).toBe(0);
    w.raw(new Uint8Array([1, 2]));
    expect(hex(w.bytesWritten())).toBe("0102");
  });

  test("gives a large buffer back when it starts over", () => {
    const w = new Writer();
    w.raw(new Uint8Array(4_000_000));
    expect(w.bytesWritten().buffer.byteLength).toBeGreaterThanOrEqual(4_000_000);
    w.reset().int32(7);
    expect(hex(w.bytesWritten())).toBe("00000007");
    expect(w.bytesWritten().buffer.byteLength).toBe(1_048_576);
  });

  test("take hands the bytes over for good", () => {
    const w = new Writer();
    w.int32(1);
    const taken = w.take();
    w.int32(-1);
    expect(hex(taken)).toBe("00000001");
    expect(hex(w.bytesWritten())).toBe("ffffffff");
  });

  /** Frames of values of some sizes, as plain bytes or in two pieces. */
  const frames = fc.array(
    fc.array(fc.record({ size: fc.integer({ min: 0, max: 60 }), inPieces: fc.boolean() }), {
      maxLength: 5,
    }),
    { minLength: 1, maxLength: 5 },
  );
  type Values = readonly { readonly size: number; readonly inPieces: boolean }[];
  const writeFrame = (w: Writer, values: Values, seed: number): void => {
    const start = w.beginFrame();
    for (const [index, { size, inPieces }] of values.entries()) {
      const bytes = new Uint8Array(size).map((_, at) => seed + index * 7 + at);
      const half = size >> 1;
      const value = inPieces ? new Pieces([bytes.subarray(0, half), bytes.subarray(half)]) : bytes;
      w.compactNullableBytes(value);
      w.nullableBytes(value);
      w.int8(index);
    }
    w.endFrame(start);
  };

  test("what is spliced leaves as if it had been copied, up to any frame's end", () => {
    fc.assert(
      fc.property(frames, fc.nat(), fc.integer({ min: 1, max: 70 }), (all, cut, min) => {
        const copied = new Writer();
        const spliced = new Writer(64, min);
        const lengths = all.map((values, index) => {
          writeFrame(copied, values, index);
          writeFrame(spliced, values, index);
          expect(spliced.length).toBe(copied.length);
          return copied.length;
        });
        expect(hex(Buffer.concat(spliced.pieces()))).toBe(hex(copied.bytesWritten()));
        const length = lengths[cut % lengths.length] ?? 0;
        spliced.truncate(length);
        const expected = hex(copied.bytesWritten().subarray(0, length));
        const pieces = spliced.pieces();
        expect(hex(Buffer.concat(pieces))).toBe(expected);
        const kept = spliced.keep(pieces);
        spliced.reset();
        for (let n = 0; n < 300; n++) spliced.int32(-1);
        expect(hex(Buffer.concat(kept))).toBe(expected);
        expect(spliced.length).toBe(1200);
      }),
    );
  });

  test("much that is kept is handed over", () => {
    const w = new Writer(64, 64);
    for (let n = 0; n < 50_000; n++) w.int32(n);
    const [piece] = w.pieces();
    const [kept] = w.keep(w.pieces());
    expect(kept?.buffer).toBe(piece?.buffer);
    w.reset();
    for (let n = 0; n < 50_000; n++) w.int32(-1);
    expect(new Reader(kept?.subarray(196) ?? noBytes).int32()).toBe(49);
  });

  test("what was spliced cannot be taken for a part of the buffer", () => {
    const misused: ((w: Writer) => void)[] = [
      (w) => w.bytesWritten(),
      (w) => w.take(),
      (w) => w.truncate(10),
    ];
    for (const misuse of misused) {
      const w = new Writer(64, 16);
      w.bytes(new Uint8Array(20));
      expect(() => misuse(w)).toThrow(AssertionError);
    }
    const w = new Writer(64, 16);
    const tag = w.beginTag(0);
    w.bytes(new Uint8Array(20));
    expect(() => w.endTag(tag)).toThrow(AssertionError);
  });

  const wrong: [string, (w: Writer) => void][] = [
    ["int8", (w) => w.int8(128)],
    ["int16", (w) => w.int16(-32_769)],
    ["uint16", (w) => w.uint16(65_536)],
    ["int32", (w) => w.int32(2 ** 31)],
    ["uint32", (w) => w.uint32(-1)],
    ["a fraction", (w) => w.int32(0.5)],
    ["a fractional int64", (w) => w.int64(0.5)],
    ["NaN", (w) => w.int64(Number.NaN)],
    ["a negative varint", (w) => w.unsignedVarint(-1)],
    ["an unsafe varlong", (w) => w.varlong(2 ** 53)],
    ["text that is no uuid", (w) => w.uuid("orders")],
    ["a patch beyond the end", (w) => w.patchInt32(0, 1)],
  ];

  test.each(wrong)("refuses %s", (_, write) => {
    expect(() => write(new Writer())).toThrow(AssertionError);
  });
});

describe("uuids", () => {
  test("sixteen bytes are twenty-two characters and back", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const text = uuidFromBytes(bytes);
        expect(isUuid(text)).toBe(true);
        expect(hex(uuidToBytes(text))).toBe(hex(bytes));
        expect(new Reader(bytes).uuid()).toBe(text);
        expect(written((w) => w.uuid(text))).toBe(hex(bytes));
      }),
    );
    expect(uuidFromBytes(new Uint8Array(16))).toBe(zeroUuid);
    expect(new Reader(new Uint8Array(16)).uuid()).toBe(zeroUuid);
  });

  test.each(["", "AAAAAAAAAAAAAAAAAAAAAB", "AAAAAAAAAAAAAAAAAAAAA+", "AAAAAAAAAAAAAAAAAAAAAAA"])(
    "%s is none",
    (text) => {
      expect(isUuid(text)).toBe(false);
      expect(() => uuidToBytes(text)).toThrow(AssertionError);
    },
  );
});
