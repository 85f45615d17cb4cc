/** Listings that lack what was just put and name what is gone: backups go on where they are, a
 * restore finds the newest, and nothing is deleted that is needed. */
import { expect, test } from "bun:test";
import { chooseCluster, findBackup } from "../../src/backup/find-backup.ts";
import { manifestKey, partsOf } from "../../src/backup/format.ts";
import { ManifestRestore } from "../../src/backup/manifest-restore.ts";
import type { RestoreParts } from "../../src/backup/restore.ts";
import { StoreError } from "../../src/store/object-store.ts";
import { findOrphans } from "../../src/tier/check/orphans.ts";
import { SegmentRegistry } from "../../src/tier/registry/segment-registry.ts";
import { backupLab } from "../support/backup-lab.ts";
import { MemoryJournal } from "../support/memory-journal.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { segmentEntry } from "../support/segment-entry.ts";
import { staleLists } from "../support/stale-lists.ts";

async function backUp({ backup, registry }: ReturnType<typeof backupLab>, times: number) {
  for (let n = 0; n < times; n++) {
    registry.append(`entry ${n}`);
    await backup.backUp();
  }
}

function manifests(store: MemoryStore): string[] {
  return [...store.objects.keys()].filter((key) => key.includes("/manifests/")).sort();
}

/** Every backup whose manifest is there has its parts. */
async function checkWhole(store: MemoryStore, sequences: readonly number[]): Promise<void> {
  expect(manifests(store)).toEqual(sequences.map((n) => manifestKey("lab", n)));
  for (const sequence of sequences) {
    for (const { key } of partsOf(await findBackup(store, "lab", sequence))) {
      expect(store.objects.has(key)).toBe(true);
    }
  }
}

test.each([0, 1, 2, 4, 20])("a listing from %i backups ago misleads nobody", async (ago) => {
  const store = new MemoryStore("");
  const lab = backupLab(store);
  await backUp(lab, 3);
  const endStale = staleLists(store);
  await backUp(lab, ago);
  const newest = 3 + ago;
  expect((await findBackup(store, await chooseCluster(store, null), null)).sequence).toBe(newest);
  // The next life of the broker: its first look is at that listing too.
  const next = backupLab(store);
  await backUp(next, 1);
  expect(next.backup.status).toMatchObject({ sequence: newest + 1, lastError: null });
  await checkWhole(store, [newest - 1, newest, newest + 1]);
  endStale();
  await backUp(next, 2);
  await checkWhole(store, [newest + 1, newest + 2, newest + 3]);
});

test("a cluster that is not listed yet is found by its name", async () => {
  const store = new MemoryStore("");
  const endStale = staleLists(store);
  await backUp(backupLab(store), 2);
  expect(await chooseCluster(store, "lab")).toBe("lab");
  expect((await findBackup(store, "lab", null)).sequence).toBe(2);
  expect(await chooseCluster(store, "lab", 2)).toBe("lab");
  expect(chooseCluster(store, null)).rejects.toThrow("lists no backup");
  endStale();
  expect(await chooseCluster(store, null)).toBe("lab");
});

test("the orphan report is late, or names what is gone; entries are never in it", async () => {
  const store = new MemoryStore("");
  const registry = await SegmentRegistry.open(new MemoryJournal());
  const put = async (base: number, last: number) => {
    const entry = segmentEntry(base, last);
    await store.putBytes(entry.key, new Uint8Array(1));
    return entry;
  };
  const first = await put(0, 9);
  await registry.add(first, 0);
  const endStale = staleLists(store);
  await registry.add(await put(10, 19), 0);
  const orphan = await put(20, 29);
  await registry.dropBefore(first.topicId, first.partition, 10);
  await store.delete(first.key);
  await registry.objectsDeleted([first.key]);
  const find = async () => {
    const onPage = () => Promise.resolve(true);
    const report = await findOrphans({ store, registry, nowMs: () => 0, youngMs: 0, onPage });
    return report?.list.map(({ key }) => key);
  };
  expect(await find()).toEqual([first.key]);
  endStale();
  expect(await find()).toEqual([orphan.key]);
  expect(registry.segments(first.topicId, first.partition).map(({ base }) => base)).toEqual([10]);
});

test("a restore from archives alone names what is gone, and makes no empty broker", async () => {
  const store = new MemoryStore("");
  const { key } = segmentEntry(0, 9);
  await store.putBytes(key, new Uint8Array(1));
  staleLists(store);
  await store.delete(key);
  const printed: string[] = [];
  const parts: Partial<RestoreParts> = {
    store,
    readArchive: (asked) => Promise.reject(new StoreError("not-found", asked, "is missing")),
    print: (line) => void printed.push(line),
  };
  const restore = new ManifestRestore(parts as RestoreParts, { clusterId: "lab", nodeId: 1 });
  await expect(restore.run()).rejects.toThrow("lists no archive that can be used");
  expect(printed.find((line) => line.startsWith(key))).toContain("is not used");
  expect(printed.at(-1)).toBe("0 archives were found");
});
