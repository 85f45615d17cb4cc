import { expect, test } from "bun:test";
import fc from "fast-check";
import { type SegmentEntry, SegmentRegistry } from "../../../src/tier/registry/segment-registry.ts";
import { MemoryJournal } from "../../support/memory-journal.ts";
import { segmentEntry } from "../../support/segment-entry.ts";

type Step =
  | { do: "add"; topic: number; partition: number; length: number; gap: number }
  | { do: "replace"; topic: number; partition: number; from: number; count: number; cut: number }
  | { do: "drop"; topic: number; partition: number; at: number }
  | { do: "quarantine"; topic: number; partition: number; at: number; back: boolean }
  | { do: "retire"; topic: number }
  | { do: "orphan"; topic: number }
  | { do: "begin"; topic: number; partition: number }
  | { do: "give-up" }
  | { do: "delete"; count: number }
  | { do: "restart"; compacted: boolean };

const topic = fc.nat(2);
const partition = fc.nat(1);
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: record("add", { length: fc.integer({ min: 1, max: 9 }), gap: gap() }) },
    {
      weight: 4,
      arbitrary: record("replace", { from: fc.nat(9), count: fc.nat(4), cut: fc.nat(9) }),
    },
    { weight: 2, arbitrary: record("drop", { at: fc.nat(9) }) },
    { weight: 2, arbitrary: record("quarantine", { at: fc.nat(9), back: fc.boolean() }) },
    fc.record({ do: fc.constant("retire" as const), topic }),
    fc.record({ do: fc.constant("orphan" as const), topic }),
    fc.record({ do: fc.constant("begin" as const), topic, partition }),
    fc.record({ do: fc.constant("give-up" as const) }),
    fc.record({ do: fc.constant("delete" as const), count: fc.nat(4) }),
    fc.record({ do: fc.constant("restart" as const), compacted: fc.boolean() }),
  ),
  { minLength: 10, maxLength: 60, size: "max" },
);

/** Mostly none; a hole lies below the log start. */
function gap() {
  return fc.constantFrom(0, 0, 0, 0, 5);
}

function record<N extends string, T extends Record<string, fc.Arbitrary<unknown>>>(
  name: N,
  more: T,
) {
  return fc.record({ do: fc.constant(name), topic, partition, ...more });
}

/** The registry as it should be, as plainly as can be. */
class Model {
  segments: SegmentEntry[] = [];
  retired: { key: string; topicId: string }[] = [];
  /** Oldest first. */
  begun: SegmentEntry[] = [];

  of(topicNumber: number, index: number): SegmentEntry[] {
    const topicId = `id-${topicNumber}`;
    return this.segments.filter((s) => s.topicId === topicId && s.partition === index);
  }

  put(segment: SegmentEntry): void {
    this.segments.push(segment);
  }

  take(gone: readonly SegmentEntry[]): void {
    const keys = new Set(gone.map(({ key }) => key));
    this.segments = this.segments.filter(({ key }) => !keys.has(key));
    for (const { key, topicId } of gone) this.retired.push({ key, topicId });
  }
}

const byPlace = (a: SegmentEntry, b: SegmentEntry) =>
  a.topicId < b.topicId
    ? -1
    : a.topicId > b.topicId
      ? 1
      : a.partition - b.partition || a.base - b.base;

/** Everything that can be asked of a registry, and the same of the model. */
function shownBy(registry: SegmentRegistry) {
  const { segments, records, bytes, quarantined, retired } = registry.totals();
  return {
    segments: registry.all().sort(byPlace),
    retired: Array.from(registry.retiredObjects(), ({ key }) => key).sort(),
    begun: registry.begunArchives().map(({ key, first }) => [key, first.base, first.last]),
    totals: { segments, records, bytes, quarantined, retired },
  };
}

function shownByModel({ segments, retired, begun }: Model) {
  return {
    segments: [...segments].sort(byPlace),
    retired: retired.map(({ key }) => key).sort(),
    begun: begun.map(({ key, base, last }) => [key, base, last]),
    totals: {
      segments: segments.length,
      records: segments.reduce((sum, s) => sum + s.records, 0),
      bytes: segments.reduce((sum, s) => sum + s.bytes, 0),
      quarantined: segments.filter((s) => s.quarantined).length,
      retired: retired.length,
    },
  };
}

/** Lookups against scans. */
function checkLookups(registry: SegmentRegistry, model: Model): void {
  for (const t of [0, 1, 2]) {
    for (const p of [0, 1]) {
      const list = model.of(t, p).sort((a, b) => a.base - b.base);
      const end = (list.at(-1)?.last ?? 0) + 3;
      for (let offset = 0; offset <= end; offset++) {
        const holder = list.find((s) => s.base <= offset && offset <= s.last);
        expect(registry.find(`id-${t}`, p, offset)?.key).toBe(holder?.key);
        const behind = list.filter((s) => s.last >= offset);
        const most = Math.max(...behind.map((s) => s.maxTimestamp));
        const latest = behind.find((s) => s.maxTimestamp === most);
        expect(registry.latest(`id-${t}`, p, offset)?.key).toBe(latest?.key);
        const target = (offset * 37) % 100;
        const first = behind.find((s) => s.maxTimestamp >= target);
        expect(registry.firstAtTime(`id-${t}`, p, target, offset)?.key).toBe(first?.key);
      }
    }
  }
}

class World {
  readonly model = new Model();
  journal = new MemoryJournal();
  registry: SegmentRegistry;
  /** What was to be seen when the journal had so many entries. */
  readonly history: ReturnType<typeof shownByModel>[] = [];
  private readonly ends = new Map<string, number>();
  private names = 0;

  constructor(registry: SegmentRegistry) {
    this.registry = registry;
  }

  async run(step: Step): Promise<void> {
    switch (step.do) {
      case "add":
        return await this.add(step);
      case "replace":
        return await this.replace(step);
      case "drop": {
        const list = this.model.of(step.topic, step.partition);
        const before = (list[step.at]?.base ?? 0) + 1;
        const gone = list.filter((s) => s.last < before);
        await this.registry.dropBefore(`id-${step.topic}`, step.partition, before);
        this.model.take(gone);
        return;
      }
      case "quarantine":
        return await this.quarantine(step);
      case "retire": {
        const gone = this.model.segments.filter((s) => s.topicId === `id-${step.topic}`);
        await this.registry.retireTopic(`id-${step.topic}`);
        this.model.take(gone);
        const ofTopic = ({ topicId }: SegmentEntry) => topicId === `id-${step.topic}`;
        this.model.retired.push(...this.model.begun.filter(ofTopic));
        this.model.begun = this.model.begun.filter((one) => !ofTopic(one));
        return;
      }
      case "orphan": {
        const segment = this.fresh(step.topic, 0, 900, 909);
        await this.registry.retireUnregistered(segment);
        this.model.retired.push(segment);
        return;
      }
      case "begin": {
        const segment = this.fresh(step.topic, step.partition, 800, 809);
        await this.registry.begin(segment);
        await this.registry.begin({ ...segment, bytes: 1 });
        this.model.begun.push(segment);
        return;
      }
      case "give-up": {
        const [oldest] = this.model.begun.splice(0, 1);
        if (oldest) await this.registry.retireBegun(oldest.key);
        if (oldest) this.model.retired.push(oldest);
        return;
      }
      case "delete": {
        const gone = this.model.retired.splice(0, step.count);
        await this.registry.objectsDeleted(gone.map(({ key }) => key));
        return;
      }
      case "restart":
        return await this.restart(step.compacted);
    }
  }

  /** A registry from the first `count` journal entries, as after a crash behind them. */
  async crashedAfter(count: number): Promise<SegmentRegistry> {
    const journal = new MemoryJournal();
    journal.entries = this.journal.entries.slice(0, count);
    return await SegmentRegistry.open(journal);
  }

  private async add(step: Step & { do: "add" }): Promise<void> {
    const place = `${step.topic}/${step.partition}`;
    const list = this.model.of(step.topic, step.partition);
    const base = Math.max(this.ends.get(place) ?? 0, (list.at(-1)?.last ?? -1) + 1) + step.gap;
    const segment = this.fresh(step.topic, step.partition, base, base + step.length - 1);
    if (step.length % 2 === 0) await this.registry.begin(segment);
    await this.registry.add(segment, base);
    this.ends.set(place, segment.last + 1);
    this.model.put(segment);
  }

  private async replace(step: Step & { do: "replace" }): Promise<void> {
    const list = this.model.of(step.topic, step.partition).sort((a, b) => a.base - b.base);
    const old = list.slice(step.from, step.from + step.count);
    const [first] = old;
    const last = old.at(-1);
    if (!first || !last) return;
    const middle = first.base + step.cut;
    const add =
      middle < last.last
        ? [
            this.fresh(step.topic, step.partition, first.base, middle),
            this.fresh(step.topic, step.partition, middle + 1, last.last),
          ]
        : [this.fresh(step.topic, step.partition, first.base, last.last)];
    const hasHole = old.some((s, index) => index > 0 && s.base !== (old[index - 1]?.last ?? 0) + 1);
    const isRefused = hasHole || old.some((s) => s.quarantined);
    const replaced = await this.registry.replace(old, add).then(
      () => true,
      () => false,
    );
    expect(replaced).toBe(!isRefused);
    if (!replaced) return;
    this.model.take(old);
    for (const segment of add) this.model.put(segment);
  }

  private async quarantine(step: Step & { do: "quarantine" }): Promise<void> {
    const list = this.model.of(step.topic, step.partition).sort((a, b) => a.base - b.base);
    const entry = list[step.at];
    if (!entry) return;
    const { quarantined: _, ...plain } = entry;
    if (step.back) await this.registry.unquarantine(entry);
    else await this.registry.quarantine(entry, "damaged", 5);
    const now = step.back ? plain : { ...plain, quarantined: { reason: "damaged", sinceMs: 5 } };
    this.model.segments = this.model.segments.map((s) => (s.key === entry.key ? now : s));
  }

  /** From the journal as it is, or from a snapshot. */
  private async restart(compacted: boolean): Promise<void> {
    if (compacted) {
      this.journal.entries = [...this.registry.snapshotParts()];
      this.history.length = 0;
    }
    this.registry = await SegmentRegistry.open(this.journal);
  }

  private fresh(topicNumber: number, index: number, base: number, last: number): SegmentEntry {
    const name = this.names++;
    return segmentEntry(base, last, {
      topic: `t${topicNumber}`,
      topicId: `id-${topicNumber}`,
      partition: index,
      generation: 1 + (name % 3),
      maxTimestamp: (name * 61) % 100,
      bytes: 100 + name,
      key: `k/${name}.tar.gz`,
    });
  }
}

test("whatever is done, wherever a crash cuts the journal, the registry is the model", async () => {
  let entriesTried = 0;
  await fc.assert(
    fc.asyncProperty(steps, async (list) => {
      const journal = new MemoryJournal();
      const world = new World(await SegmentRegistry.open(journal));
      world.journal = journal;
      for (const step of list) {
        await world.run(step as Step);
        expect(shownBy(world.registry)).toEqual(shownByModel(world.model));
        world.history[world.journal.entries.length] = shownByModel(world.model);
      }
      checkLookups(world.registry, world.model);
      for (const [count, shown] of world.history.entries()) {
        if (shown === undefined) continue;
        expect(shownBy(await world.crashedAfter(count))).toEqual(shown);
        entriesTried++;
      }
    }),
    { numRuns: 100 },
  );
  expect(entriesTried).toBeGreaterThan(500);
});
