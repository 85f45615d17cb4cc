import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join as joinPath } from "node:path";
import fc from "fast-check";
import { decodeMetrics, type MetricPoint, otlpMessagesMax } from "../../src/client-metrics/otlp.ts";
import { ProtocolError } from "../../src/lib/errors.ts";
import {
  attribute,
  field,
  fixed64,
  gauge,
  join,
  number,
  payload,
  point,
  sum,
  varint,
} from "./otlp-writer.ts";

function fixture(name: string): Uint8Array<ArrayBuffer> {
  const path = joinPath(import.meta.dir, "../fixtures/client-metrics", `${name}.otlp`);
  return new Uint8Array(readFileSync(path));
}

function only(bytes: Uint8Array): MetricPoint {
  const { points } = decodeMetrics(bytes);
  const [first, ...more] = points;
  if (first === undefined || more.length > 0) throw new Error(`${points.length} points`);
  return first;
}

const named = (name: string) => (one: MetricPoint) => one.name === name;

describe("what clients push", () => {
  test("Kafka's Java client: gauges, and sums that tell their growth", () => {
    const { points, unreadMetrics } = decodeMetrics(fixture("java-4.3.1"));
    expect(unreadMetrics).toBe(0);
    expect(points.length).toBe(7);
    expect(points.find(named("org.apache.kafka.producer.topic.record.send.total"))).toEqual({
      name: "org.apache.kafka.producer.topic.record.send.total",
      kind: "counter-delta",
      value: 3,
      resource: [],
      attributes: [["topic", "tt"]],
    });
    expect(points.find(named("org.apache.kafka.producer.connection.count"))).toMatchObject({
      kind: "gauge",
      value: 2,
    });
  });

  test("librdkafka: whole numbers", () => {
    expect(decodeMetrics(fixture("librdkafka-2.16.0")).points).toEqual([
      {
        name: "org.apache.kafka.producer.connection.creation.rate",
        kind: "gauge",
        value: 0,
        resource: [],
        attributes: [],
      },
      {
        name: "org.apache.kafka.producer.connection.creation.total",
        kind: "counter-delta",
        value: 0,
        resource: [],
        attributes: [],
      },
    ]);
  });
});

describe("numbers", () => {
  test("four kinds, by what a sum says of itself", () => {
    const kindOf = (metric: readonly number[]) => only(payload([metric])).kind;
    expect(kindOf(gauge("a", [point(1)]))).toBe("gauge");
    expect(kindOf(sum("a", [point(1)], 1, true))).toBe("counter-delta");
    expect(kindOf(sum("a", [point(1)], 2, true))).toBe("counter");
    expect(kindOf(sum("a", [point(1)], 1, false))).toBe("gauge-delta");
    expect(kindOf(sum("a", [point(1)], 2, false))).toBe("gauge");
  });

  test("in whatever order the fields stand", () => {
    const numbers = field(1, point(5n));
    const late = join(field(7, join(numbers, number(3, 1), number(2, 1))), field(1, "late"));
    const scope = field(2, field(2, late));
    const resource = field(1, field(1, attribute("group_id", "g")));
    expect(only(Uint8Array.from(field(1, join(scope, resource))))).toEqual({
      name: "late",
      kind: "counter-delta",
      value: 5,
      resource: [["group_id", "g"]],
      attributes: [],
    });
  });

  test("the last kind counts where a metric has two, and the last value", () => {
    const twice = join(gauge("a", [point(1)]), sum("a", [point(2)]));
    expect(only(payload([twice])).kind).toBe("counter-delta");
    expect(only(payload([gauge("a", [join(point(1), point(2n))])])).value).toBe(2);
  });

  test("points without a value, or that say they have none, are left out", () => {
    const none = join(point(1), number(8, 1));
    expect(decodeMetrics(payload([gauge("a", [[], none, point(3)])])).points).toMatchObject([
      { value: 3 },
    ]);
  });

  test("histograms and summaries are counted and passed over", () => {
    const others = [9, 10, 11].map((kind) => join(field(1, "a"), field(kind, field(1, [8, 1]))));
    const found = decodeMetrics(payload([...others, gauge("b", [point(1)])]));
    expect(found.unreadMetrics).toBe(3);
    expect(found.points.length).toBe(1);
  });

  test("attributes of text, truth and number; lists and bytes are none", () => {
    const value = (body: readonly number[]) => field(7, join(field(1, "k"), field(2, body)));
    const read = (body: readonly number[]) =>
      only(payload([gauge("a", [join(value(body), point(1))])])).attributes;
    expect(read(field(1, "ü\n"))).toEqual([["k", "ü\n"]]);
    expect(read(number(2, 1))).toEqual([["k", "true"]]);
    expect(read(number(2, 0))).toEqual([["k", "false"]]);
    expect(read(number(3, -7n))).toEqual([["k", "-7"]]);
    expect(read(number(3, 2n ** 63n - 1n))).toEqual([["k", "9223372036854775807"]]);
    expect(read(fixed64(4, (view) => view.setFloat64(0, 0.5, true)))).toEqual([["k", "0.5"]]);
    expect(read(field(5, [1, 2]))).toEqual([]);
    expect(read(field(7, [1, 2]))).toEqual([]);
  });

  test("what is written is read", () => {
    const text = fc.string({ maxLength: 20, unit: "grapheme" });
    const attributes = fc.array(fc.tuple(text, text), { maxLength: 4 });
    const value = fc.oneof(fc.double(), fc.bigInt({ min: -(2n ** 53n), max: 2n ** 53n }));
    const metric = fc.record({ name: text, value, attributes, isSum: fc.boolean() });
    fc.assert(
      fc.property(fc.array(metric, { maxLength: 8 }), attributes, (metrics, resource) => {
        const bytes = payload(
          metrics.map(({ name, value: one, attributes: labels, isSum }) =>
            isSum ? sum(name, [point(one, labels)]) : gauge(name, [point(one, labels)]),
          ),
          resource,
        );
        const expected = metrics.map(({ name, value: one, attributes: labels, isSum }) => ({
          name,
          kind: isSum ? ("counter-delta" as const) : ("gauge" as const),
          value: Number(one),
          resource,
          attributes: labels,
        }));
        expect(decodeMetrics(bytes)).toEqual({ points: expected, unreadMetrics: 0 });
      }),
    );
  });
});

describe("bad bytes", () => {
  const bad: readonly (readonly [string, readonly number[]])[] = [
    ["text", [...new TextEncoder().encode("text".repeat(9))]],
    ["tag zero", [0]],
    ["field zero", [2, 0]],
    ["tag beyond 32 bits", [...varint(2n ** 32n + 2n), 0]],
    ["length past the end", [10, 1]],
    ["length of 2^63", [10, ...varint(2n ** 63n)]],
    ["endless varint", [8, ...new Array<number>(11).fill(0x80)]],
    ["varint that ends early", [8, 0x80]],
    ["fixed64 cut", [9, 1, 2, 3]],
    ["fixed32 cut", [13, 1, 2, 3]],
    ["group", [11, 12]],
    ["wire type 6", [14]],
    ["inner length past its message", [...field(1, [10, 5]), ...field(90, "more")]],
    ["inner number past its message", [...field(1, [9, 1, 2]), ...field(90, "and more")]],
  ];
  for (const [name, bytes] of bad) {
    test(name, () => {
      expect(() => decodeMetrics(Uint8Array.from(bytes))).toThrow(ProtocolError);
    });
  }

  test("unknown fields of every wire type are skipped", () => {
    const unknown = join(
      number(90, 2n ** 63n),
      fixed64(91, () => undefined),
      field(92, "x"),
      [...varint(93 * 8 + 5), 1, 2, 3, 4],
    );
    const metric = join(unknown, gauge("a", [join(unknown, point(1), unknown)]), unknown);
    expect(only(Uint8Array.from([...unknown, ...payload([metric])])).value).toBe(1);
  });

  test("any cut, any change and any noise is numbers or a ProtocolError, nothing else", () => {
    const seeds = [fixture("java-4.3.1"), fixture("librdkafka-2.16.0")];
    const tryDecode = (bytes: Uint8Array): void => {
      try {
        decodeMetrics(bytes);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
      }
    };
    for (const seed of seeds) {
      for (let length = 0; length < seed.length; length++) tryDecode(seed.subarray(0, length));
    }
    const edit = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.constantFrom(...seeds), fc.array(edit, { maxLength: 6 }), (seed, edits) => {
        const bytes = seed.slice();
        for (const [at, byte] of edits) bytes[at % bytes.length] = byte;
        tryDecode(bytes);
      }),
      { numRuns: 3_000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => tryDecode(bytes)),
      { numRuns: 3_000 },
    );
  });

  test("bytes around the payload are never read", () => {
    const inner = payload([gauge("a", [point(1)])]);
    const outer = new Uint8Array([...new Array<number>(7).fill(0xff), ...inner, 0xff, 0xff]);
    expect(only(outer.subarray(7, 7 + inner.length)).value).toBe(1);
  });

  test("a payload of tiny messages costs a bounded number of them", () => {
    const points = new Uint8Array(2 * (otlpMessagesMax + 10)).map((_, index) =>
      index % 2 ? 0 : 10,
    );
    expect(() => decodeMetrics(points)).toThrow("too many protobuf messages");
    expect(decodeMetrics(points.subarray(0, 1000)).points).toEqual([]);
  });
});
