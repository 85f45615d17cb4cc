import { describe, expect, test } from "bun:test";
import { Metrics, secondsBuckets } from "../../src/telemetry/metrics.ts";

/** The samples of an exposition by name and labels; fails on a line Prometheus would refuse. */
function samples(text: string): Map<string, number> {
  expect(text).toEndWith("\n");
  const found = new Map<string, number>();
  for (const line of text.trimEnd().split("\n")) {
    if (line.startsWith("#")) {
      expect(line).toMatch(/^# (HELP|TYPE) [a-zA-Z_:][\w:]* \S/);
      continue;
    }
    const label = /[a-z_]\w*="(?:[^"\\\n]|\\["\\n])*"/.source;
    const form = new RegExp(`^([a-z_:][\\w:]*(?:\\{${label}(?:,${label})*\\})?) (\\S+)$`);
    const match = form.exec(line);
    if (match === null) throw new Error(`not a sample: ${line}`);
    found.set(match[1] ?? "", Number(match[2]));
  }
  return found;
}

describe("counters", () => {
  test("add up by label, and start at 0 without labels", () => {
    const metrics = new Metrics();
    const requests = metrics.counter({ name: "r_total", help: "Requests", labels: ["api"] });
    metrics.counter({ name: "plain_total", help: "Plain" });
    requests.inc(["produce"]);
    requests.inc(["produce"], 2);
    const fetch = requests.bind(["fetch"]);
    fetch();
    fetch(4);
    const found = samples(metrics.text());
    expect(found.get('r_total{api="produce"}')).toBe(3);
    expect(found.get('r_total{api="fetch"}')).toBe(5);
    expect(found.get("plain_total")).toBe(0);
  });
  test("never go down, and are named _total", () => {
    const metrics = new Metrics();
    const counter = metrics.counter({ name: "a_total", help: "A" });
    expect(() => counter.inc([], -1)).toThrow("cannot go down");
    expect(() => metrics.counter({ name: "b", help: "B" })).toThrow("_total");
  });
});

describe("gauges", () => {
  test("hold the last value, are set at collection, and can be removed", () => {
    const metrics = new Metrics();
    const lag = metrics.gauge({ name: "lag", help: "Lag", labels: ["topic", "partition"] });
    let now = 1;
    metrics.onCollect(() => lag.set(now, ["a", "0"]));
    lag.set(9, ["b", "1"]);
    expect(samples(metrics.text()).get('lag{topic="a",partition="0"}')).toBe(1);
    now = 2;
    lag.remove(["b", "1"]);
    const found = samples(metrics.text());
    expect(found.get('lag{topic="a",partition="0"}')).toBe(2);
    expect(found.has('lag{topic="b",partition="1"}')).toBe(false);
  });
});

describe("histograms", () => {
  test("buckets are cumulative and a bound belongs to its bucket", () => {
    const metrics = new Metrics();
    const seconds = metrics.histogram({ name: "h", help: "H", buckets: [1, 2, 4], labels: ["op"] });
    const put = seconds.bind(["put"]);
    for (const value of [0.5, 1, 1.5, 4, 5]) put(value);
    const found = samples(metrics.text());
    const bucket = (le: string) => found.get(`h_bucket{op="put",le="${le}"}`);
    expect([bucket("1"), bucket("2"), bucket("4"), bucket("+Inf")]).toEqual([2, 3, 4, 5]);
    expect(found.get('h_sum{op="put"}')).toBe(12);
    expect(found.get('h_count{op="put"}')).toBe(5);
  });
  test("without labels", () => {
    const metrics = new Metrics();
    metrics.histogram({ name: "h", help: "H", buckets: [1] }).observe(0.1);
    expect(metrics.text()).toContain('h_bucket{le="1"} 1\nh_bucket{le="+Inf"} 1\nh_sum 0.1\n');
  });
  test("bounds must ascend", () => {
    const make = () => new Metrics().histogram({ name: "h", help: "H", buckets: [1, 1] });
    expect(make).toThrow("out of order");
    expect([...secondsBuckets].sort((left, right) => left - right)).toEqual([...secondsBuckets]);
  });
});

test("series are capped, and what is dropped is counted", () => {
  const metrics = new Metrics();
  const counter = metrics.counter({ name: "c_total", help: "C", labels: ["t"], seriesMax: 2 });
  for (const topic of ["a", "b", "c", "d", "a"]) counter.inc([topic]);
  counter.bind(["e"])();
  const found = samples(metrics.text());
  expect([...found.keys()].filter((name) => name.startsWith("c_total"))).toHaveLength(2);
  expect(found.get('c_total{t="a"}')).toBe(2);
  expect(found.get('chronik_metrics_dropped_total{metric="c_total"}')).toBe(3);
});

test("hostile label values stay inside their quotes", () => {
  const metrics = new Metrics();
  const gauge = metrics.gauge({ name: "g", help: "two\nlines \\", labels: ["client"] });
  gauge.set(1, ['a"} 99\nfake 1\\']);
  const found = samples(metrics.text());
  expect(found.has("fake")).toBe(false);
  expect(metrics.text()).toContain('g{client="a\\"} 99\\nfake 1\\\\"} 1');
});

test("labels that differ only in where they are split stay apart", () => {
  const metrics = new Metrics();
  const gauge = metrics.gauge({ name: "g", help: "G", labels: ["a", "b"] });
  gauge.set(1, ['x",b="y', "z"]);
  gauge.set(2, ["x", 'y",b="z']);
  expect(samples(metrics.text()).size).toBe(2);
});

test("a name is defined once, and the number of labels must fit", () => {
  const metrics = new Metrics();
  const gauge = metrics.gauge({ name: "g", help: "G", labels: ["a"] });
  expect(() => metrics.gauge({ name: "g", help: "G" })).toThrow("twice");
  expect(() => gauge.set(1, [])).toThrow("takes 1 labels");
  expect(() => metrics.gauge({ name: "Bad-Name", help: "G" })).toThrow("not a metric's name");
});
