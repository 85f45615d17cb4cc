/** How much of something happened a second, over the last windows, as Kafka counts it. (pure) */

export interface Windows {
  /** `quota.window.num`: with the one that is not over yet. */
  readonly count: number;
  readonly lengthMs: number;
}

/** What an answer can tell: an int32, almost 25 days. */
export const throttleMsMax = 2 ** 31 - 1;

interface Sample {
  value: number;
  startMs: number;
  lastMs: number;
}

export class WindowedRate {
  private readonly windows: Windows;
  private readonly samples: Sample[] = [];
  private current = 0;

  constructor(windows: Windows) {
    this.windows = windows;
  }

  record(value: number, nowMs: number): void {
    let sample = this.at(nowMs);
    if (nowMs - sample.startMs >= this.windows.lengthMs) sample = this.advance(nowMs);
    sample.value += value;
    sample.lastMs = nowMs;
  }

  /** A second. */
  rate(nowMs: number): number {
    const spanMs = this.spanMs(nowMs);
    let total = 0;
    for (const { value } of this.samples) total += value;
    return (total * 1000) / spanMs;
  }

  /** How long to do nothing until the rate is `limit` again; 0: it is not above. */
  throttleMs(limit: number, nowMs: number): number {
    const rate = this.rate(nowMs);
    if (rate <= limit) return 0;
    return Math.min(throttleMsMax, Math.round(((rate - limit) / limit) * this.spanMs(nowMs)));
  }

  /** The time that the samples stand for: all windows but the running one are taken for whole. */
  private spanMs(nowMs: number): number {
    this.forget(nowMs);
    const { count, lengthMs } = this.windows;
    let startMs = this.at(nowMs).startMs;
    for (const sample of this.samples) startMs = Math.min(startMs, sample.startMs);
    const elapsedMs = nowMs - startMs;
    const missing = Math.max(0, count - 1 - Math.floor(elapsedMs / lengthMs));
    return Math.max(1, elapsedMs + missing * lengthMs);
  }

  private at(nowMs: number): Sample {
    let sample = this.samples[this.current];
    if (sample === undefined) {
      sample = { value: 0, startMs: nowMs, lastMs: nowMs };
      this.samples.push(sample);
    }
    return sample;
  }

  /** One place more than there are windows: a sample may reach over their border. */
  private advance(nowMs: number): Sample {
    this.current = (this.current + 1) % (this.windows.count + 1);
    const sample = this.at(nowMs);
    clear(sample, nowMs);
    return sample;
  }

  private forget(nowMs: number): void {
    const ageMs = this.windows.count * this.windows.lengthMs;
    for (const sample of this.samples) {
      if (nowMs - sample.lastMs >= ageMs) clear(sample, nowMs);
    }
  }
}

function clear(sample: Sample, nowMs: number): void {
  sample.value = 0;
  sample.startMs = nowMs;
  sample.lastMs = nowMs;
}
