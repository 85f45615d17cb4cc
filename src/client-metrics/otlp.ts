/**
 * Metrics in OpenTelemetry's protocol (OTLP, opentelemetry/proto/metrics/v1), as Kafka's clients
 * push them: numbers with attributes, gauges and sums. Histograms and summaries, which no client
 * sends, are counted and passed over. (pure)
 */
import { FieldReader, tagOf, WireType } from "./protobuf.ts";

/** A name and its text. */
export type Attribute = readonly [name: string, value: string];

/** One number. */
export interface MetricPoint {
  readonly name: string;
  /** `counter`: only grows, the value is the total; `counter-delta`: the growth since the last. */
  readonly kind: "gauge" | "gauge-delta" | "counter" | "counter-delta";
  readonly value: number;
  /** Of what reports it, such as a consumer's group. */
  readonly resource: readonly Attribute[];
  /** Of this number, such as its topic. */
  readonly attributes: readonly Attribute[];
}

export interface DecodedMetrics {
  readonly points: readonly MetricPoint[];
  /** Metrics of kinds that are passed over. */
  readonly unreadMetrics: number;
}

/** Messages opened in one payload; each metric takes three, and two for each attribute. */
export const otlpMessagesMax = 50_000;

const { VARINT, FIXED64, LENGTH } = WireType;
const first = tagOf(1, LENGTH);
const second = tagOf(2, LENGTH);
const asDouble = tagOf(4, FIXED64);
const asInt = tagOf(6, FIXED64);
const pointAttribute = tagOf(7, LENGTH);
const pointFlags = tagOf(8, VARINT);
const gauge = tagOf(5, LENGTH);
const sum = tagOf(7, LENGTH);
const otherKinds: ReadonlySet<number> = new Set([9, 10, 11].map((n) => tagOf(n, LENGTH)));
const temporality = tagOf(2, VARINT);
const isMonotonic = tagOf(3, VARINT);
const delta = 1;

/** A MetricsData message. Throws ProtocolError when the bytes are none. */
export function decodeMetrics(bytes: Uint8Array): DecodedMetrics {
  const found: Found = { points: [], unreadMetrics: 0 };
  const data = FieldReader.open(bytes, otlpMessagesMax);
  for (let tag = data.next(); tag !== 0; tag = data.next()) {
    if (tag === first) readResourceMetrics(data.message(), found);
    else data.skip();
  }
  return found;
}

interface Found {
  readonly points: MetricPoint[];
  unreadMetrics: number;
}

function readResourceMetrics(message: FieldReader, found: Found): void {
  let resource: readonly Attribute[] = [];
  const scopes: FieldReader[] = [];
  for (let tag = message.next(); tag !== 0; tag = message.next()) {
    if (tag === first) resource = readResource(message.message());
    else if (tag === second) scopes.push(message.message());
    else message.skip();
  }
  for (const scope of scopes) {
    for (let tag = scope.next(); tag !== 0; tag = scope.next()) {
      if (tag === second) readMetric(scope.message(), resource, found);
      else scope.skip();
    }
  }
}

function readResource(message: FieldReader): Attribute[] {
  const attributes: Attribute[] = [];
  for (let tag = message.next(); tag !== 0; tag = message.next()) {
    if (tag === first) readAttribute(message.message(), attributes);
    else message.skip();
  }
  return attributes;
}

function readMetric(message: FieldReader, resource: readonly Attribute[], found: Found): void {
  let name = "";
  let kind = 0;
  let data: FieldReader | null = null;
  for (let tag = message.next(); tag !== 0; tag = message.next()) {
    if (tag === first) {
      name = message.string();
    } else if (tag === gauge || tag === sum) {
      kind = tag;
      data = message.message();
    } else {
      if (otherKinds.has(tag)) found.unreadMetrics++;
      message.skip();
    }
  }
  if (data !== null) readNumbers(data, kind === sum, name, resource, found);
}

/** A Gauge or a Sum, whose points are the same. */
function readNumbers(
  message: FieldReader,
  isSum: boolean,
  name: string,
  resource: readonly Attribute[],
  found: Found,
): void {
  const points: FieldReader[] = [];
  let isDelta = false;
  let onlyGrows = false;
  for (let tag = message.next(); tag !== 0; tag = message.next()) {
    if (tag === first) points.push(message.message());
    else if (isSum && tag === temporality) isDelta = message.uint() === delta;
    else if (isSum && tag === isMonotonic) onlyGrows = message.uint() !== 0;
    else message.skip();
  }
  const base = onlyGrows ? "counter" : "gauge";
  const kind = isDelta ? (`${base}-delta` as const) : base;
  for (const point of points) {
    const read = readPoint(point);
    if (read !== null) found.points.push({ name, kind, resource, ...read });
  }
}

/** Null for a point that has no value. */
function readPoint(message: FieldReader): Pick<MetricPoint, "value" | "attributes"> | null {
  const attributes: Attribute[] = [];
  let value: number | null = null;
  for (let tag = message.next(); tag !== 0; tag = message.next()) {
    if (tag === asDouble) value = message.double();
    else if (tag === asInt) value = message.fixedInt64();
    else if (tag === pointAttribute) readAttribute(message.message(), attributes);
    else if (tag === pointFlags) {
      // The lowest flag: no recorded value.
      if (message.uint() % 2 === 1) return null;
    } else message.skip();
  }
  return value === null ? null : { value, attributes };
}

/** Text, numbers and booleans; lists, maps and bytes are no labels. */
function readAttribute(message: FieldReader, attributes: Attribute[]): void {
  let name = "";
  let value: string | null = null;
  for (let tag = message.next(); tag !== 0; tag = message.next()) {
    if (tag === first) name = message.string();
    else if (tag === second) value = readValue(message.message());
    else message.skip();
  }
  if (value !== null) attributes.push([name, value]);
}

function readValue(message: FieldReader): string | null {
  let value: string | null = null;
  for (let tag = message.next(); tag !== 0; tag = message.next()) {
    if (tag === first) value = message.string();
    else if (tag === tagOf(2, VARINT)) value = String(message.uint() !== 0);
    else if (tag === tagOf(3, VARINT)) value = String(message.int64());
    else if (tag === asDouble) value = String(message.double());
    else message.skip();
  }
  return value;
}
