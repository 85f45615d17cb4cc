import { expect, test } from "bun:test";
import { snapshotParts } from "../../../src/tier/registry/registry-entry.ts";
import { SegmentRegistry } from "../../../src/tier/registry/segment-registry.ts";
import { MemoryJournal } from "../../support/memory-journal.ts";
import { segmentEntry } from "../../support/segment-entry.ts";

const segments = 100_000;
const partBytesMax = 512 << 10;

test("a hundred thousand segments come back from small parts and are found", async () => {
  const journal = new MemoryJournal();
  const list = Array.from({ length: segments }, (_, i) =>
    segmentEntry(i * 10, i * 10 + 9, { maxTimestamp: i * 10 + ((i * 7919) % 1_000) }),
  );
  journal.entries = [...snapshotParts([list], [])];
  expect(Math.max(...journal.entries.map((part) => part.length))).toBeLessThan(partBytesMax);
  const registry = await SegmentRegistry.open(journal);
  expect(registry.totals()).toMatchObject({ segments, partitions: 1, records: segments * 10 });
  expect(registry.range("id-t", 0)).toEqual({ start: 0, end: segments * 10 });
  for (let offset = 3; offset < segments * 10; offset += 99_991) {
    const base = Math.floor(offset / 10) * 10;
    expect(registry.find("id-t", 0, offset)?.base).toBe(base);
    const late = list.find((entry) => entry.last >= offset && entry.maxTimestamp >= offset + 900);
    expect(registry.firstAtTime("id-t", 0, offset + 900, offset)).toEqual(late);
  }
  const old = registry.segments("id-t", 0).slice(50_000, 50_008);
  const key = "k/segment-500000-500079.g2-00000000.tar.gz";
  await registry.replace(old, [segmentEntry(500_000, 500_079, { generation: 2, key })]);
  expect(await registry.dropBefore("id-t", 0, 400_000)).toHaveLength(40_000);
  const parts = new MemoryJournal();
  parts.entries = [...registry.snapshotParts()];
  const again = await SegmentRegistry.open(parts);
  expect(again.totals()).toEqual(registry.totals());
  expect(again.find("id-t", 0, 500_042)?.key).toBe(key);
  expect(again.retiredTotal).toBe(40_008);
});

test("a snapshot is written beside the changes that follow", async () => {
  const journal = new MemoryJournal();
  const registry = await SegmentRegistry.open(journal);
  let open = () => {};
  journal.snapshotGate = new Promise<void>((resolve) => (open = resolve));
  for (let i = 0; i < 4_100; i++) await registry.add(segmentEntry(i, i), 0);
  expect(journal.compactions).toBe(0);
  expect(journal.entries).toHaveLength(4_100);
  open();
  await registry.settled();
  expect(journal.compactions).toBe(1);
  expect((await SegmentRegistry.open(journal)).totals()).toEqual(registry.totals());
});
