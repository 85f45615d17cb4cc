import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ClientSeries, type PushingClient } from "../../src/client-metrics/client-series.ts";
import type { MetricPoint } from "../../src/client-metrics/otlp.ts";
import { FakeClock } from "../support/fake-clock.ts";

function clientOf(instanceId: string, more: Partial<PushingClient> = {}): PushingClient {
  return {
    instanceId,
    clientId: "app",
    softwareName: "java",
    softwareVersion: "4.3.1",
    sourceAddress: "127.0.0.1",
    ...more,
  };
}

function numberOf(name: string, value: number, more: Partial<MetricPoint> = {}): MetricPoint {
  return { name, kind: "gauge", value, resource: [], attributes: [], ...more };
}

function lab(seriesMax = 100, seriesPerClientMax = 50) {
  const clock = new FakeClock();
  return { clock, series: new ClientSeries(clock, { seriesMax, seriesPerClientMax }) };
}

const keepMs = 60_000;

function samples(series: ClientSeries): string[] {
  return series.lines().filter((line) => !line.startsWith("#") && !line.includes("client_info"));
}

/** Fails on what Prometheus would refuse: a broken line, a family in two parts, a series twice. */
function checkText(lines: readonly string[]): void {
  const families = new Set<string>();
  const seen = new Set<string>();
  let family = "";
  const label = /[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"/.source;
  const form = new RegExp(`^((\\w+)\\{${label}(?:,${label})*\\}) (NaN|[+-]Inf|-?[\\d.e+-]+)$`);
  for (const line of lines) {
    expect(line).not.toContain("\n");
    if (line.startsWith("# HELP ")) {
      family = line.split(" ")[2] ?? "";
      expect(families.has(family)).toBe(false);
      families.add(family);
      expect(family).toMatch(/^chronik_client_[a-z0-9_]+$/);
      continue;
    }
    if (line.startsWith("# TYPE ")) {
      expect(line).toBe(`# TYPE ${family} ${family.endsWith("_total") ? "counter" : "gauge"}`);
      continue;
    }
    const match = form.exec(line);
    if (match === null) throw new Error(`not a sample: ${line}`);
    expect(match[2]).toBe(family);
    const names = [...(match[1] ?? "").matchAll(/([a-zA-Z_]\w*)="(?:[^"\\]|\\.)*"/g)];
    expect(new Set(names.map(([, name]) => name)).size).toBe(names.length);
    expect(seen.has(match[1] ?? "")).toBe(false);
    seen.add(match[1] ?? "");
  }
}

describe("series", () => {
  test("carry the client, its labels and the name without Kafka's own", () => {
    const { series } = lab();
    const topic = numberOf("org.apache.kafka.consumer.fetch-manager.records.lag", 7, {
      attributes: [["topic", "t"]],
      resource: [["group_id", "g"]],
    });
    series.push(clientOf("one"), [topic], keepMs);
    expect(series.lines()).toEqual([
      "# HELP chronik_client_info A client that pushes its metrics",
      "# TYPE chronik_client_info gauge",
      'chronik_client_info{client_id="app",client_instance_id="one",client_software_name="java",' +
        'client_software_version="4.3.1",client_source_address="127.0.0.1"} 1',
      "# HELP chronik_client_consumer_fetch_manager_records_lag " +
        "Pushed by clients as org.apache.kafka.consumer.fetch-manager.records.lag",
      "# TYPE chronik_client_consumer_fetch_manager_records_lag gauge",
      "chronik_client_consumer_fetch_manager_records_lag" +
        '{client_id="app",client_instance_id="one",group_id="g",topic="t"} 7',
    ]);
  });

  test("growth adds up to counters, totals and gauges are as last told", () => {
    const { series } = lab();
    for (const value of [3, 4]) {
      series.push(
        clientOf("c"),
        [
          numberOf("sent", value, { kind: "counter-delta" }),
          numberOf("all.total", value, { kind: "counter" }),
          numberOf("level", -value, { kind: "gauge-delta" }),
          numberOf("now", value),
          numberOf("free", Number.NaN),
          numberOf("max", Number.NEGATIVE_INFINITY),
        ],
        keepMs,
      );
    }
    const labels = '{client_id="app",client_instance_id="c"}';
    expect(samples(series)).toEqual([
      `chronik_client_sent_total${labels} 7`,
      `chronik_client_all_total${labels} 4`,
      `chronik_client_level${labels} -7`,
      `chronik_client_now${labels} 4`,
      `chronik_client_free${labels} NaN`,
      `chronik_client_max${labels} -Inf`,
    ]);
    checkText(series.lines());
  });

  test("no client changes another's number, the broker's, or what kind a metric is", () => {
    const { series } = lab();
    series.push(clientOf("good"), [numberOf("sent", 1, { kind: "counter" })], keepMs);
    const forged: MetricPoint["attributes"] = [
      ["client_instance_id", "good"],
      ["client-instance-id", "good"],
      ["__client_instance_id", "good"],
      ["client_id", "admin"],
    ];
    series.push(
      clientOf("bad"),
      [
        numberOf("sent", 9, { kind: "counter", attributes: forged, resource: forged }),
        numberOf("sent.total", 9, { attributes: forged }),
        numberOf("info", 9),
        numberOf("\norg", 9),
        numberOf("", 9),
        numberOf("...", 9),
        numberOf("x".repeat(201), 9),
      ],
      keepMs,
    );
    expect(samples(series)).toEqual([
      'chronik_client_sent_total{client_id="app",client_instance_id="good"} 1',
      'chronik_client_sent_total{client_id="app",client_instance_id="bad"} 9',
      'chronik_client_sent_total_value{client_id="app",client_instance_id="bad"} 9',
      'chronik_client_org{client_id="app",client_instance_id="bad"} 9',
    ]);
    expect([...series.dropped]).toEqual([["name", 4]]);
    checkText(series.lines());
  });

  test("quotes, backslashes and ends of lines in labels are escaped, each alone too", () => {
    const { series } = lab();
    const texts = ['"', "\\", "\n", 'a"b\\c\nd'];
    const attributes = texts.map((text, index) => [`l${index}`, text] as const);
    series.push(clientOf("c"), [numberOf("a", 1, { attributes })], keepMs);
    expect(samples(series)[0]).toContain(String.raw`l0="\"",l1="\\",l2="\n",l3="a\"b\\c\nd"} 1`);
  });

  test("counters take no number that is none, nor less than nothing", () => {
    const { series } = lab();
    const values = [Number.NaN, Number.POSITIVE_INFINITY, -1];
    series.push(
      clientOf("c"),
      [
        ...values.map((value) => numberOf("a", value, { kind: "counter-delta" })),
        ...values.map((value) => numberOf("a", value, { kind: "counter" })),
        numberOf("b", Number.NaN, { kind: "gauge-delta" }),
      ],
      keepMs,
    );
    expect(samples(series)).toEqual([]);
    expect([...series.dropped]).toEqual([["value", 7]]);
  });

  test("whatever is pushed, Prometheus can read", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary", maxLength: 30 }),
      fc.constantFrom("info", "a_total", "a.total", "client_id", "le", "0", "__name__", 'a"\n\\'),
    );
    const pairs = fc.array(fc.tuple(text, text), { maxLength: 4 });
    const points = fc.array(
      fc.record({
        name: text,
        kind: fc.constantFrom("gauge", "gauge-delta", "counter", "counter-delta"),
        value: fc.double(),
        resource: pairs,
        attributes: pairs,
      }),
      { maxLength: 10 },
    );
    const push = fc.record({ id: fc.constantFrom("a", "b"), clientId: text, points });
    fc.assert(
      fc.property(fc.array(push, { maxLength: 4 }), (pushes) => {
        const { series } = lab(20, 12);
        for (const { id, clientId, points: numbers } of pushes) {
          series.push(clientOf(id, { clientId }), numbers, keepMs);
        }
        checkText(series.lines());
        expect(series.size).toBeLessThanOrEqual(20);
      }),
      { numRuns: 150 },
    );
  });
});

test("a gauge ends with the first push without it, what adds up stays", () => {
  const { series } = lab();
  const member = (id: string): Partial<MetricPoint> => ({ resource: [["member_id", id]] });
  const points = (id: string, value: number) => [
    numberOf("now", value, member(id)),
    numberOf("sum", value, { kind: "gauge-delta", ...member(id) }),
    numberOf("sent", value, { kind: "counter-delta", ...member(id) }),
  ];
  series.push(clientOf("other"), [numberOf("now", 7)], keepMs);
  series.push(clientOf("c"), points("", 1), keepMs);
  series.push(clientOf("c", { sourceAddress: "10.0.0.1" }), points("m", 2), keepMs);
  const self = 'client_id="app",client_instance_id="c",member_id';
  expect(samples(series)).toEqual([
    'chronik_client_now{client_id="app",client_instance_id="other"} 7',
    `chronik_client_now{${self}="m"} 2`,
    `chronik_client_sum{${self}=""} 1`,
    `chronik_client_sum{${self}="m"} 2`,
    `chronik_client_sent_total{${self}=""} 1`,
    `chronik_client_sent_total{${self}="m"} 2`,
  ]);
  const told = series.lines().filter((line) => line.startsWith("chronik_client_info"));
  expect(told.map((line) => /address="(.*)"/.exec(line)?.[1])).toEqual(["127.0.0.1", "10.0.0.1"]);
  expect([series.size, series.clientCount]).toEqual([8, 2]);
});

describe("limits", () => {
  const many = (count: number, name = "m") =>
    Array.from({ length: count }, (_, index) => numberOf(`${name}${index}`, index));

  test("of one client, and of all", () => {
    const { series } = lab(10, 6);
    series.push(clientOf("a"), many(20), keepMs);
    expect(series.size).toBe(6);
    expect(series.dropped.get("client-series")).toBe(15);
    series.push(clientOf("b"), many(20), keepMs);
    expect([series.size, series.clientCount]).toEqual([10, 2]);
    expect([...series.dropped]).toEqual([
      ["client-series", 29],
      ["series", 3],
    ]);
    // What is there goes on.
    series.push(clientOf("a"), [numberOf("m0", 42)], keepMs);
    expect(samples(series)[0]).toEndWith(" 42");
  });

  test("long labels are refused, long client ids cut", () => {
    const { series } = lab();
    const long = numberOf("a", 1, { attributes: [["topic", "t".repeat(1_100)]] });
    series.push(
      clientOf("c", { clientId: `${"i".repeat(199)}😀` }),
      [long, numberOf("b", 1)],
      keepMs,
    );
    expect([...series.dropped]).toEqual([["labels", 1]]);
    expect(samples(series)).toEqual([
      `chronik_client_b{client_id="${"i".repeat(199)}\uFFFD",client_instance_id="c"} 1`,
    ]);
  });

  test("what is not pushed again is forgotten, and makes room", () => {
    const { clock, series } = lab(5, 3);
    series.push(clientOf("a"), many(2), keepMs);
    clock.advance(keepMs / 2);
    series.push(clientOf("b"), [numberOf("m0", 1), numberOf("m1", 1)], keepMs);
    expect(series.dropped.get("series")).toBe(1);
    series.push(clientOf("a"), [numberOf("m0", 5)], keepMs);
    clock.advance(keepMs / 2);
    // Of "a" the series it pushed again are left, and what stands for the client.
    expect(samples(series)).toEqual([
      'chronik_client_m0{client_id="app",client_instance_id="a"} 5',
      'chronik_client_m0{client_id="app",client_instance_id="b"} 1',
    ]);
    clock.advance(keepMs / 2);
    expect(series.lines()).toEqual([]);
    expect([series.size, series.clientCount]).toEqual([0, 0]);
  });

  test("a full table makes room by itself", () => {
    const { clock, series } = lab(3, 3);
    series.push(clientOf("a"), many(2), keepMs);
    clock.advance(keepMs);
    series.push(clientOf("b"), many(2), keepMs);
    expect(samples(series).every((line) => line.includes('"b"'))).toBe(true);
    expect(series.size).toBe(3);
  });
});
