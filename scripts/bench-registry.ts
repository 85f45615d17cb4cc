import { NativeJournal } from "../src/native/journal.ts";
import { encodeEntry, snapshotParts } from "../src/tier/registry/registry-entry.ts";
import { type SegmentEntry, SegmentRegistry } from "../src/tier/registry/segment-registry.ts";
import { openEngine, tempDir } from "../test/support/native.ts";
import { print } from "./figures.ts";
import { main } from "./support.ts";

/** Figures of the segment registry, one JSON line each: `bench-registry.ts [SEGMENTS]`. Opening a
 * registry of that many segments, its memory, look-ups by offset and by time, and how long writing
 * its snapshot holds the event loop up; of one partition and of a thousand. */

const recordsEach = 1_000;
const lookups = 200_000;

function entry(partition: number, index: number): SegmentEntry {
  const base = index * recordsEach;
  const last = base + recordsEach - 1;
  const folder = `tantivy_indexes/orders-of-a-large-shop/partition-${partition}`;
  const hex = (partition * 1_000_003 + index).toString(16).padStart(8, "0");
  return {
    topic: "orders-of-a-large-shop",
    topicId: "Wm1DS2JwT0tLUXk5d2xsUQ",
    partition,
    generation: 1,
    base,
    last,
    records: recordsEach,
    minTimestamp: 1_700_000_000_000 + base,
    maxTimestamp: 1_700_000_000_000 + last + ((index * 7919) % 5_000),
    key: `${folder}/segment-${base}-${last}.tar.gz`,
    bytes: 200_000_000 + index,
    rawBytes: 268_435_456,
    sha256: hex.repeat(8),
    tocPosition: 199_000_000,
    documents: recordsEach,
    aborted: 0,
    index: "full",
    createdMs: 1_700_000_000_000 + index,
  };
}

async function measure(segments: number, partitions: number): Promise<void> {
  using dir = tempDir();
  const path = `${dir.path}/registry`;
  const each = Math.ceil(segments / partitions);
  await writeJournal(dir.path, path, each, partitions);
  const engine = await openEngine(dir.path);
  Bun.gc(true);
  const residentBefore = process.memoryUsage.rss();
  const startMs = performance.now();
  const journal = await NativeJournal.open(engine, path);
  const registry = await SegmentRegistry.open(journal);
  const openMs = Math.round(performance.now() - startMs);
  Bun.gc(true);
  const { heapUsed } = process.memoryUsage();
  print("registry_open", {
    segments: registry.totals().segments,
    partitions,
    ms: openMs,
    resident_growth_mib: Math.round((process.memoryUsage.rss() - residentBefore) / 1048576),
    heap_mib: Math.round(heapUsed / 1048576),
  });
  printLookups(registry, each, partitions);
  await printSnapshot(registry, journal);
  await engine.close();
}

async function writeJournal(dataDir: string, path: string, each: number, partitions: number) {
  const engine = await openEngine(dataDir);
  const journal = await NativeJournal.open(engine, path);
  function* lists() {
    for (let partition = 0; partition < partitions; partition++) {
      yield Array.from({ length: each }, (_, index) => entry(partition, index));
    }
  }
  await journal.compactParts(snapshotParts(lists(), []));
  await engine.close();
}

function printLookups(registry: SegmentRegistry, each: number, partitions: number): void {
  const { topicId } = entry(0, 0);
  const offsets = each * recordsEach;
  const timed = (figure: string, look: (n: number) => boolean) => {
    let found = 0;
    const startMs = performance.now();
    for (let n = 0; n < lookups; n++) if (look(n)) found++;
    const us = ((performance.now() - startMs) * 1000) / lookups;
    print(figure, { partitions, us: Math.round(us * 1000) / 1000, found });
  };
  const offsetOf = (n: number) => (n * 7_919_993) % offsets;
  timed("registry_find", (n) => registry.find(topicId, n % partitions, offsetOf(n)) !== undefined);
  timed("registry_first_at_time", (n) => {
    const target = 1_700_000_000_000 + offsetOf(n);
    return registry.firstAtTime(topicId, n % partitions, target, 0) !== undefined;
  });
  timed("registry_latest", (n) => {
    return registry.latest(topicId, n % partitions, offsetOf(n)) !== undefined;
  });
  timed("registry_totals", () => registry.totals().segments > 0);
}

/** Opens a registry whose journal holds as many replacements as it ever does. */
async function printReplay(segments: number, partitions: number): Promise<void> {
  using dir = tempDir();
  const path = `${dir.path}/registry`;
  const each = Math.ceil(segments / partitions);
  await writeJournal(dir.path, path, each, partitions);
  const engine = await openEngine(dir.path);
  const journal = await NativeJournal.open(engine, path);
  const registry = await SegmentRegistry.open(journal);
  const lists = [...registry.lists()];
  const writes: Promise<void>[] = [];
  for (let n = 0; n < segments / 8; n++) {
    const old = lists[n % partitions]?.[Math.floor(n / partitions) * 2];
    if (!old) continue;
    const key = old.key.replace(".tar.gz", ".g2-00000000.tar.gz");
    const { topicId, partition } = old;
    const add = [{ ...old, generation: 2, key }];
    const change = { topicId, partition, remove: [old.key], add, nowMs: 1 };
    writes.push(journal.append(encodeEntry({ v: 2, type: "replace", ...change })));
  }
  await Promise.all(writes);
  await engine.close();
  const again = await openEngine(dir.path);
  const startMs = performance.now();
  await SegmentRegistry.open(await NativeJournal.open(again, path));
  print("registry_open_with_replacements", {
    segments,
    partitions,
    replacements: writes.length,
    ms: Math.round(performance.now() - startMs),
  });
  await again.close();
}

async function printSnapshot(registry: SegmentRegistry, journal: NativeJournal): Promise<void> {
  let longestMs = 0;
  let done = false;
  const watch = (async () => {
    for (let lastMs = performance.now(); !done; ) {
      await new Promise((resolve) => setImmediate(resolve));
      const nowMs = performance.now();
      longestMs = Math.max(longestMs, nowMs - lastMs);
      lastMs = nowMs;
    }
  })();
  const startMs = performance.now();
  await journal.compactParts(registry.snapshotParts());
  done = true;
  await watch;
  print("registry_snapshot", {
    ms: Math.round(performance.now() - startMs),
    longest_pause_ms: Math.round(longestMs * 10) / 10,
  });
}

await main(async () => {
  const segments = Number(process.argv[2] ?? 100_000);
  await measure(segments, 1);
  await measure(segments, 1_000);
  await printReplay(segments, 1);
  await printReplay(segments, 1_000);
  return 0;
});
