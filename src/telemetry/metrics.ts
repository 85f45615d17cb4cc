import { assert } from "../lib/assert.ts";

/** Label values of one series, in the order in which the metric names its labels. */
export type LabelValues = readonly string[];

/** A number that only grows. */
export interface Counter {
  inc(labels?: LabelValues, by?: number): void;
  /** One series found once, for hot paths; returns the function that adds to it. */
  bind(labels: LabelValues): (by?: number) => void;
}

/** A number that goes up and down. */
export interface Gauge {
  set(value: number, labels?: LabelValues): void;
  /** Forgets one series, such as that of a deleted topic. */
  remove(labels: LabelValues): void;
}

/** How values are spread; values in the metric's unit (seconds, bytes, records). */
export interface Histogram {
  observe(value: number, labels?: LabelValues): void;
  /** One series found once, for hot paths; returns the function that observes into it. */
  bind(labels: LabelValues): (value: number) => void;
}

export interface MetricOptions {
  /** In Prometheus form with unit and, for counters, `_total`: `chronik_wal_fsync_seconds`. */
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
  /** Most series kept; further ones are counted in `chronik_metrics_dropped_total`. */
  readonly seriesMax?: number;
}

export interface HistogramOptions extends MetricOptions {
  /** Upper bounds of the buckets, ascending. */
  readonly buckets?: readonly number[];
}

/** Bounds for durations in seconds, from 50 µs to 10 s. */
export const secondsBuckets: readonly number[] = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
  5, 10,
];

type Kind = "counter" | "gauge" | "histogram";
const seriesMaxDefault = 2_000;

/** One family of series with the same name and labels. */
class Family<S> {
  readonly kind: Kind;
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly series = new Map<string, S>();
  private readonly seriesMax: number;
  private readonly create: () => S;
  private readonly onDropped: (family: string) => void;

  constructor(
    kind: Kind,
    { name, help, labels = [], seriesMax = seriesMaxDefault }: MetricOptions,
    create: () => S,
    onDropped: (family: string) => void,
  ) {
    this.kind = kind;
    this.name = name;
    this.help = help;
    this.labels = labels;
    this.seriesMax = seriesMax;
    this.create = create;
    this.onDropped = onDropped;
  }

  /** The series with these labels, made when new; undefined when there are too many. */
  at(values: LabelValues): S | undefined {
    assert(values.length === this.labels.length, `${this.name} takes ${this.labels.length} labels`);
    const key = labelText(this.labels, values);
    const known = this.series.get(key);
    if (known !== undefined) return known;
    if (this.series.size >= this.seriesMax) {
      this.onDropped(this.name);
      return undefined;
    }
    const made = this.create();
    this.series.set(key, made);
    return made;
  }

  remove(values: LabelValues): void {
    this.series.delete(labelText(this.labels, values));
  }
}

interface Cell {
  value: number;
}

interface Spread {
  readonly counts: number[];
  sum: number;
  count: number;
}

type AnyFamily =
  | { readonly family: Family<Cell>; readonly buckets?: undefined }
  | { readonly family: Family<Spread>; readonly buckets: readonly number[] };

/** Every metric of a process, and their text for Prometheus. */
export class Metrics {
  private readonly families = new Map<string, AnyFamily>();
  private readonly collectors: (() => void)[] = [];
  private readonly others: (() => readonly string[])[] = [];
  private readonly dropped: Counter;

  constructor() {
    this.dropped = this.counter({
      name: "chronik_metrics_dropped_total",
      help: "Updates not kept because a metric has too many series",
      labels: ["metric"],
    });
  }

  counter(options: MetricOptions): Counter {
    assert(options.name.endsWith("_total"), `counter ${options.name} must end in _total`);
    const family = this.cells("counter", options);
    const add = (cell: Cell | undefined, by: number) => {
      assert(by >= 0, `${options.name} cannot go down`);
      if (cell !== undefined) cell.value += by;
    };
    return {
      inc: (labels = [], by = 1) => add(family.at(labels), by),
      bind(labels) {
        const cell = family.at(labels);
        return (by = 1) => add(cell, by);
      },
    };
  }

  gauge(options: MetricOptions): Gauge {
    const family = this.cells("gauge", options);
    return {
      set(value, labels = []) {
        const cell = family.at(labels);
        if (cell !== undefined) cell.value = value;
      },
      remove: (labels) => family.remove(labels),
    };
  }

  histogram({ buckets = secondsBuckets, ...options }: HistogramOptions): Histogram {
    assert(
      buckets.every((bound, index) => index === 0 || bound > (buckets[index - 1] ?? bound)),
      `${options.name} has buckets out of order`,
    );
    const create = (): Spread => ({ counts: buckets.map(() => 0), sum: 0, count: 0 });
    const family = new Family("histogram", options, create, this.countDropped);
    this.register(options, { family, buckets });
    const put = (spread: Spread | undefined, value: number) => {
      if (spread === undefined) return;
      spread.sum += value;
      spread.count += 1;
      const index = bucketOf(buckets, value);
      if (index < buckets.length) spread.counts[index] = (spread.counts[index] ?? 0) + 1;
    };
    return {
      observe: (value, labels = []) => put(family.at(labels), value),
      bind(labels) {
        const spread = family.at(labels);
        return (value) => put(spread, value);
      },
    };
  }

  /** Runs before each text is made, to set gauges from what is true at that moment. */
  onCollect(collector: () => void): void {
    this.collectors.push(collector);
  }

  /** Lines of whole families that are kept elsewhere, under names that no metric here has. */
  onText(lines: () => readonly string[]): void {
    this.others.push(lines);
  }

  /** Text exposition format 0.0.4. */
  text(): string {
    for (const collect of this.collectors) collect();
    const lines: string[] = [];
    for (const entry of this.families.values()) {
      const { family, buckets } = entry;
      if (family.series.size === 0) continue;
      lines.push(`# HELP ${family.name} ${escapeHelp(family.help)}`);
      lines.push(`# TYPE ${family.name} ${family.kind}`);
      if (buckets === undefined) {
        for (const [labels, { value }] of family.series) {
          lines.push(`${family.name}${braced(labels)} ${number(value)}`);
        }
      } else {
        for (const [labels, spread] of family.series) {
          lines.push(...histogramLines(family.name, labels, buckets, spread));
        }
      }
    }
    for (const other of this.others) {
      for (const line of other()) lines.push(line);
    }
    return `${lines.join("\n")}\n`;
  }

  private readonly countDropped = (family: string): void => {
    this.dropped.inc([family]);
  };

  private cells(kind: "counter" | "gauge", options: MetricOptions): Family<Cell> {
    const family = new Family<Cell>(kind, options, () => ({ value: 0 }), this.countDropped);
    this.register(options, { family });
    // A metric without labels is there from the start, with 0.
    if (family.labels.length === 0) family.at([]);
    return family;
  }

  private register({ name, labels = [] }: MetricOptions, entry: AnyFamily): void {
    assert(/^[a-z_:][a-z0-9_:]*$/.test(name), `${name} is not a metric's name`);
    assert(!this.families.has(name), `metric ${name} is defined twice`);
    for (const label of labels) {
      assert(/^[a-z_][a-z0-9_]*$/.test(label) && label !== "le", `${label} is not a label's name`);
    }
    this.families.set(name, entry);
  }
}

/** The first bucket whose bound is at least `value`; the number of buckets when none is. */
function bucketOf(buckets: readonly number[], value: number): number {
  let low = 0;
  let high = buckets.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (value <= (buckets[middle] ?? Number.POSITIVE_INFINITY)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function histogramLines(
  name: string,
  labels: string,
  buckets: readonly number[],
  { counts, sum, count }: Spread,
): string[] {
  let running = 0;
  const bound = (le: string) => braced(labels === "" ? `le="${le}"` : `${labels},le="${le}"`);
  const lines = buckets.map((bucket, index) => {
    running += counts[index] ?? 0;
    return `${name}_bucket${bound(number(bucket))} ${running}`;
  });
  lines.push(`${name}_bucket${bound("+Inf")} ${count}`);
  lines.push(
    `${name}_sum${braced(labels)} ${number(sum)}`,
    `${name}_count${braced(labels)} ${count}`,
  );
  return lines;
}

function labelText(names: readonly string[], values: LabelValues): string {
  return names.map((name, index) => `${name}="${escapeLabel(values[index] ?? "")}"`).join(",");
}

function braced(labels: string): string {
  return labels === "" ? "" : `{${labels}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function number(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  return value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);
}
