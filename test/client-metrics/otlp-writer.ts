/** Writes OTLP as a client would: enough of protocol buffers for tests. */

export type Bytes = readonly number[];

export function varint(value: bigint | number): Bytes {
  let left = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  while (left >= 0x80n) {
    bytes.push(Number(left & 0x7fn) | 0x80);
    left >>= 7n;
  }
  return [...bytes, Number(left)];
}

/** A field of wire type 2. */
export function field(number: number, body: Bytes | string): Bytes {
  const bytes = typeof body === "string" ? [...new TextEncoder().encode(body)] : body;
  return [...varint(number * 8 + 2), ...varint(bytes.length), ...bytes];
}

/** A field of wire type 0. */
export function number(at: number, value: bigint | number): Bytes {
  return [...varint(at * 8), ...varint(value)];
}

/** A field of wire type 1. */
export function fixed64(at: number, set: (view: DataView) => void): Bytes {
  const bytes = new Uint8Array(8);
  set(new DataView(bytes.buffer));
  return [...varint(at * 8 + 1), ...bytes];
}

export function join(...parts: readonly Bytes[]): Bytes {
  return parts.flat();
}

export function attribute(name: string, value: string): Bytes {
  return join(field(1, name), field(2, field(1, value)));
}

export type Value = number | bigint;

export function point(
  value: Value,
  attributes: readonly (readonly [string, string])[] = [],
): Bytes {
  return join(
    ...attributes.map(([name, text]) => field(7, attribute(name, text))),
    typeof value === "bigint"
      ? fixed64(6, (view) => view.setBigInt64(0, value, true))
      : fixed64(4, (view) => view.setFloat64(0, value, true)),
  );
}

export function gauge(name: string, points: readonly Bytes[]): Bytes {
  return join(field(1, name), field(5, join(...points.map((one) => field(1, one)))));
}

export function sum(name: string, points: readonly Bytes[], temporality = 1, grows = true): Bytes {
  const body = join(
    ...points.map((one) => field(1, one)),
    number(2, temporality),
    number(3, grows ? 1 : 0),
  );
  return join(field(1, name), field(7, body));
}

/** A MetricsData message of one resource. */
export function payload(
  metrics: readonly Bytes[],
  resource: readonly (readonly [string, string])[] = [],
): Uint8Array<ArrayBuffer> {
  const attributes = resource.map(([name, text]) => field(1, attribute(name, text)));
  const scope = field(2, join(...metrics.map((one) => field(2, one))));
  return Uint8Array.from(field(1, join(field(1, join(...attributes)), scope)));
}
