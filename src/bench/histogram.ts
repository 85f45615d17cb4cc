/** Buckets a power of two is cut into: values are kept with an error below 1/128. */
const stepsBits = 7;
const steps = 1 << stepsBits;
/** Values up to 2^36 − 1; in microseconds that is 19 hours. */
const valueBits = 36;
const bucketCount = (valueBits - stepsBits + 1) * steps;
const valueMax = 2 ** valueBits - 1;

/**
 * Counts values in log-linear buckets: exact below 256, then within 0.8 %. Memory does not grow
 * with the number of values. Values are whole numbers of whatever unit the caller uses.
 */
export class Histogram {
  private readonly counts = new Float64Array(bucketCount);
  private total = 0;
  private sum = 0;
  private smallest = Number.POSITIVE_INFINITY;
  private largest = 0;

  get count(): number {
    return this.total;
  }

  get min(): number {
    return this.total === 0 ? 0 : this.smallest;
  }

  get max(): number {
    return this.largest;
  }

  get mean(): number {
    return this.total === 0 ? 0 : this.sum / this.total;
  }

  /** Takes `value` `times` times. Negative values count as 0, too large ones as the largest. */
  record(value: number, times = 1): void {
    const whole = Math.min(valueMax, Math.max(0, Math.round(value)));
    const bucket = bucketOf(whole);
    this.counts[bucket] = (this.counts[bucket] ?? 0) + times;
    this.total += times;
    this.sum += whole * times;
    if (whole < this.smallest) this.smallest = whole;
    if (whole > this.largest) this.largest = whole;
  }

  /** The value that `share` of all values (0 to 1) do not exceed. */
  percentile(share: number): number {
    const rank = Math.max(1, Math.ceil(share * this.total));
    let seen = 0;
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      seen += this.counts[bucket] ?? 0;
      if (seen >= rank) return Math.min(this.largest, highestOf(bucket));
    }
    return this.largest;
  }
}

function bucketOf(value: number): number {
  if (value < 2 * steps) return value;
  // Above, each power of two has `steps` buckets of equal width.
  const exponent = Math.floor(Math.log2(value)) - stepsBits;
  return exponent * steps + Math.floor(value / 2 ** exponent);
}

function highestOf(bucket: number): number {
  if (bucket < 2 * steps) return bucket;
  const exponent = Math.floor(bucket / steps) - 1;
  const step = bucket - exponent * steps;
  return (step + 1) * 2 ** exponent - 1;
}
