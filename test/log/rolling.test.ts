import { expect, test } from "bun:test";
import { Rolling, rollAgeMs } from "../../src/log/rolling.ts";
import { batch, LogLab, topicB, turn } from "../support/log-lab.ts";

test("a topic's segment.ms seals its segments, a change of it too", async () => {
  const lab = new LogLab();
  const quick = await lab.open({ segmentMs: 5_000 });
  const slow = await lab.open({ segmentMs: 3_600_000 }, 0, topicB);
  for (const partition of [quick, slow]) await partition.append(batch(), { origin: "client" });
  const rolling = new Rolling(
    lab.clock,
    () => lab.partitions.all(),
    (_partition, error) => lab.heard.push(`${error}`),
  );
  rolling.start();
  const sealed = async () => {
    await turn();
    return [quick, slow].map((partition) => partition.segments().map((one) => one.sealed));
  };
  lab.clock.advance(4_999);
  expect(await sealed()).toEqual([[false], [false]]);
  lab.clock.advance(5_001);
  expect(await sealed()).toEqual([[true], [false]]);
  await lab.open({ segmentMs: 60_000 }, 0, topicB);
  lab.clock.advance(60_000);
  expect(await sealed()).toEqual([[true], [true]]);
  rolling.stop();
  expect(lab.heard).toEqual([]);
});

test("the jitter is spread over the segments, and never takes more than it may", () => {
  const config = { segmentMs: 100_000, segmentJitterMs: 40_000 };
  const ages = Array.from({ length: 100 }, (_, seed) => rollAgeMs(config, seed));
  expect(Math.max(...ages)).toBeLessThanOrEqual(100_000);
  expect(Math.min(...ages)).toBeGreaterThan(60_000);
  const early = ages.filter((age) => age < 80_000).length;
  expect(early).toBeGreaterThan(40);
  expect(early).toBeLessThan(60);
  expect(rollAgeMs({ segmentMs: 100_000, segmentJitterMs: 0 }, 7)).toBe(100_000);
});
