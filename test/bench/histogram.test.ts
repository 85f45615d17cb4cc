import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Histogram } from "../../src/bench/histogram.ts";

describe("histogram", () => {
  test("percentiles lie within one part in 128 of the exact ones", () => {
    const values = fc.array(fc.nat(2 ** 31 - 1), { minLength: 1, maxLength: 300 });
    fc.assert(
      fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (all, share) => {
        const histogram = new Histogram();
        for (const value of all) histogram.record(value);
        const sorted = [...all].sort((left, right) => left - right);
        const rank = Math.max(1, Math.ceil(share * all.length));
        const exact = sorted[rank - 1] ?? 0;
        const found = histogram.percentile(share);
        expect(found).toBeGreaterThanOrEqual(exact);
        expect(found - exact).toBeLessThanOrEqual(Math.max(0, exact / 128));
        expect(histogram.max).toBe(sorted.at(-1) ?? 0);
        expect(histogram.min).toBe(sorted[0] ?? 0);
      }),
    );
  });

  test("weights count like repetitions", () => {
    const once = new Histogram();
    const often = new Histogram();
    once.record(70, 1000);
    for (let count = 0; count < 1000; count++) often.record(70);
    expect([once.count, once.mean, once.percentile(0.5)]).toEqual([1000, 70, 70]);
    expect(once).toEqual(often);
  });

  test("empty, negative and huge values", () => {
    const histogram = new Histogram();
    expect([histogram.percentile(0.99), histogram.min, histogram.mean]).toEqual([0, 0, 0]);
    histogram.record(-5);
    histogram.record(2 ** 50);
    expect([histogram.min, histogram.max]).toEqual([0, 2 ** 36 - 1]);
    expect(histogram.percentile(1)).toBe(2 ** 36 - 1);
  });
});
