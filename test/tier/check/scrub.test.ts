import { expect, test } from "bun:test";
import fc from "fast-check";
import { BrokerError } from "../../../src/lib/errors.ts";
import { StoreError } from "../../../src/store/object-store.ts";
import type { Logger } from "../../../src/telemetry/logger.ts";
import { findOrphans, orphansKept } from "../../../src/tier/check/orphans.ts";
import { Scrub, type ScrubConfig } from "../../../src/tier/check/scrub.ts";
import { decodeState, EntryWalk, encodeState } from "../../../src/tier/check/scrub-state.ts";
import type { ScrubbedWal } from "../../../src/tier/check/scrub-wal.ts";
import { checkSegment } from "../../../src/tier/check/segment-check.ts";
import { type SegmentEntry, SegmentRegistry } from "../../../src/tier/registry/segment-registry.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { MemoryJournal } from "../../support/memory-journal.ts";
import { MemoryStore } from "../../support/memory-store.ts";
import { segmentEntry } from "../../support/segment-entry.ts";
import { silentLogger } from "../../support/silent-logger.ts";

const day = 86_400_000;
const objectBytes = 1_000_000;

function sha256(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}

/** A registry of `count` objects that are as registered, and a scrub over them. */
async function lab(
  count: number,
  over: { config?: Partial<ScrubConfig>; wals?: ScrubbedWal[] } = {},
) {
  const clock = new FakeClock();
  const store = new MemoryStore("");
  const journal = new MemoryJournal();
  const registry = await SegmentRegistry.open(journal);
  const entries: SegmentEntry[] = [];
  for (let at = 0; at < count; at++) {
    const bytes = new Uint8Array(objectBytes).fill(at + 1);
    const base = segmentEntry(at * 10, at * 10 + 9);
    const entry = { ...base, bytes: bytes.length, sha256: sha256(bytes), createdMs: 1 };
    store.objects.set(entry.key, bytes);
    await registry.add(entry, 0);
    entries.push(entry);
  }
  const lines: { level: string; text: string; fields: Record<string, unknown> | undefined }[] = [];
  const keep = (level: string): Logger["info"] => {
    return (text, fields) => void lines.push({ level, text, fields });
  };
  const logger = {
    ...silentLogger(),
    info: keep("info"),
    warn: keep("warn"),
    error: keep("error"),
  };
  let state: Uint8Array | null = null;
  let reads = 0;
  const getRange = store.getRange.bind(store);
  store.getRange = (key, position, length) => {
    reads++;
    return getRange(key, position, length);
  };
  const open = () =>
    new Scrub(
      { enabled: true, bytesPerSec: 1_000_000, intervalMs: 7 * day, ...over.config },
      {
        store,
        registry,
        inspector: {
          manifest: () => Promise.reject(new Error("not asked for")),
          toc: () => Promise.reject(new Error("not asked for")),
          verifyFile: () => Promise.reject(new BrokerError("CHRONIK_CORRUPT", "bad batch")),
        },
        wals: () => over.wals ?? [],
        readBytes: 300_000,
        clock,
        logger,
        state: {
          load: () => Promise.resolve(state),
          save(bytes) {
            state = bytes;
            return Promise.resolve();
          },
        },
      },
    );
  /** Lets time go by in small steps while everything that can happen does. */
  const pass = async (ms: number, stepMs = 100) => {
    for (let at = 0; at < ms; at += stepMs) {
      clock.advance(stepMs);
      for (let turn = 0; turn < 3; turn++) await Bun.sleep(0);
    }
  };
  const setState = (bytes: Uint8Array | null) => {
    state = bytes;
  };
  const wholeReads = () => reads;
  // The copy that tells what is wrong needs no file here.
  store.openForVerify = () => Promise.resolve({ path: "", release: () => Promise.resolve() });
  return { clock, store, journal, registry, entries, lines, open, pass, setState, wholeReads };
}

const errors = (lines: readonly { level: string; text: string }[]) =>
  lines.filter(({ level }) => level === "error").map(({ text }) => text);

test("an entry whose hash nobody knows is read as an archive; it is no damage", async () => {
  const { store, registry } = await lab(0);
  const entry = { ...segmentEntry(0, 9), bytes: 10, sha256: "" };
  store.objects.set(entry.key, new Uint8Array(10));
  await registry.add(entry, 0);
  const released: string[] = [];
  store.openForVerify = (key) =>
    Promise.resolve({ path: key, release: async () => void released.push(key) });
  const asked: (string | null)[] = [];
  let isSound = true;
  const inspector = {
    manifest: () => Promise.reject(new Error("not asked for")),
    toc: () => Promise.reject(new Error("not asked for")),
    async verifyFile(_path: string, _entry: SegmentEntry, expected: string | null) {
      asked.push(expected);
      if (!isSound) throw new BrokerError("CHRONIK_CORRUPT", "bad batch");
    },
  };
  const deps = { store, inspector, readBytes: 4 };
  const go = () => Promise.resolve(true);
  expect(await checkSegment(deps, entry, "hash", go)).toEqual({ kind: "sound" });
  expect(await checkSegment(deps, entry, "deep", go)).toEqual({ kind: "sound" });
  isSound = false;
  const outcome = await checkSegment(deps, entry, "hash", go);
  expect(outcome).toMatchObject({ kind: "damaged", reason: expect.stringContaining("bad batch") });
  expect(asked).toEqual([null, null, null, null]);
  expect(released).toHaveLength(4);
});

test("a round reads everything once, within its rate, then waits for the interval", async () => {
  const { open, pass, wholeReads } = await lab(5);
  const scrub = open();
  await scrub.start();
  await pass(59_000, 1_000);
  expect(wholeReads()).toBe(0);
  await pass(4_000);
  // A second for each object of a megabyte.
  expect(scrub.status().round?.checked).toBeLessThanOrEqual(4);
  await pass(4_000);
  const { lastRound, verified, nextRoundMs } = scrub.status();
  expect(lastRound).toMatchObject({ checked: 5, bytes: 5 * objectBytes, damaged: 0 });
  expect([verified, wholeReads()]).toEqual([5, 5 * 4]);
  expect((nextRoundMs ?? 0) - (lastRound?.startedMs ?? 0)).toBeWithin(7 * day - 1, 7 * day + 2);
  await pass(day, 3_600_000);
  expect(wholeReads()).toBe(5 * 4);
  await pass(6 * day, 3_600_000);
  await pass(20_000);
  expect(scrub.status().verified).toBe(10);
  await scrub.stop();
});

test("a stop in the middle of an object is prompt, and the next start goes on there", async () => {
  const { open, pass, clock, registry, store } = await lab(4);
  const first = open();
  await first.start();
  await pass(60_000, 1_000);
  await pass(2_500);
  const before = first.status().round?.checked ?? 0;
  expect(before).toBeWithin(1, 4);
  await first.stop();
  const looked: string[] = [];
  const head = store.head.bind(store);
  store.head = (key) => {
    looked.push(key);
    return head(key);
  };
  const second = open();
  await second.start();
  expect(second.status().round?.checked).toBe(before);
  await pass(10_000);
  expect(looked).toEqual(
    registry
      .all()
      .slice(before)
      .map(({ key }) => key),
  );
  expect(second.status().lastRound).toMatchObject({ checked: 4, damaged: 0 });
  await second.stop();
  expect(clock.pendingTimers).toBe(0);
});

test("progress that cannot be read is told, and everything is looked at", async () => {
  const { open, pass, setState, lines } = await lab(2);
  setState(new TextEncoder().encode('{"v":9}'));
  const scrub = open();
  await scrub.start();
  await pass(70_000, 500);
  expect(lines.map(({ text }) => text)).toContainEqual(expect.stringContaining("cannot be read"));
  expect(scrub.status().lastRound?.checked).toBe(2);
  await scrub.stop();
});

test("damage is read twice, quarantined, kept, and released when put right", async () => {
  const { open, pass, store, registry, entries, lines } = await lab(3);
  const [, hurt] = entries;
  if (hurt === undefined) throw new Error("no entry");
  const good = store.objects.get(hurt.key) ?? new Uint8Array();
  store.objects.set(hurt.key, new Uint8Array(objectBytes));
  const scrub = open();
  await scrub.start();
  await pass(90_000, 500);
  expect(registry.entryOf(hurt.key)?.quarantined?.reason).toContain("bad batch");
  expect(store.objects.has(hurt.key)).toBe(true);
  const place = { topic: "t", partition: 0, base_offset: 10, last_offset: 19, key: hurt.key };
  const [line] = lines.filter(({ level }) => level === "error");
  expect(line?.fields).toMatchObject(place);
  expect(line?.fields?.["do"]).toContain("put the object back");
  expect(scrub.status()).toMatchObject({ quarantined: 1, damaged: 1 });
  expect(scrub.status().findings).toMatchObject([{ first: 10, last: 19, key: hurt.key }]);
  // Looked at again each hour, and told once.
  await pass(3_700_000, 10_000);
  expect(errors(lines)).toHaveLength(1);
  store.objects.set(hurt.key, good);
  await pass(3_900_000, 10_000);
  expect(registry.entryOf(hurt.key)?.quarantined).toBeUndefined();
  expect(scrub.status()).toMatchObject({ quarantined: 0, findings: [] });
  await scrub.stop();
});

test("bytes that were damaged on their way once are no damage", async () => {
  const { open, pass, store, registry, lines } = await lab(1);
  const getRange = store.getRange.bind(store);
  let bad = 1;
  store.getRange = async (key, position, length) => {
    const bytes = await getRange(key, position, length);
    if (bad-- > 0) bytes[7] = 0;
    return bytes;
  };
  const scrub = open();
  await scrub.start();
  await pass(80_000, 500);
  expect(scrub.status().lastRound).toMatchObject({ checked: 1, damaged: 0 });
  expect([registry.totals().quarantined, errors(lines)]).toEqual([0, []]);
  await scrub.stop();
});

test("a store that is away is no damage: the scrub waits and goes on", async () => {
  const { open, pass, store, registry, lines } = await lab(3);
  let asked = 0;
  const head = store.head.bind(store);
  store.head = (key) => {
    asked++;
    return Promise.reject(new StoreError("unavailable", key, "503"));
  };
  const scrub = open();
  await scrub.start();
  await pass(400_000, 1_000);
  expect(asked).toBeWithin(2, 6);
  store.head = head;
  await pass(1_300_000, 2_000);
  const last = scrub.status().lastRound;
  expect((last?.checked ?? 0) + (last?.unchecked ?? 0)).toBe(3);
  expect(last?.damaged).toBe(0);
  expect([registry.totals().quarantined, errors(lines)]).toEqual([0, []]);
  await scrub.stop();
});

test("what a reader failed on comes first, once a minute at most", async () => {
  const { open, pass, store, entries, registry } = await lab(3);
  const hurt = entries[2];
  if (hurt === undefined) throw new Error("no entry");
  const scrub = open();
  await scrub.start();
  scrub.suspect(hurt);
  await pass(1_000);
  expect(scrub.status()).toMatchObject({ verified: 1, quarantined: 0 });
  for (let at = 0; at < 20; at++) scrub.suspect(hurt);
  await pass(1_000);
  expect(scrub.status().verified).toBe(1);
  await pass(60_000, 1_000);
  const good = store.objects.get(hurt.key) ?? new Uint8Array();
  store.objects.delete(hurt.key);
  scrub.suspect(hurt);
  // A bad moment of the store passes.
  await pass(3_000);
  store.objects.set(hurt.key, good);
  await pass(3_000);
  expect(scrub.status()).toMatchObject({ verified: 2, damaged: 0 });
  store.objects.delete(hurt.key);
  await pass(60_000, 1_000);
  scrub.suspect(hurt);
  await pass(6_000);
  expect(registry.entryOf(hurt.key)?.quarantined?.reason).toContain("missing");
  await scrub.stop();
});

test("a registry that cannot be written costs the quarantine until the next look", async () => {
  const { open, pass, store, entries, registry, journal, lines } = await lab(1, {
    config: { intervalMs: 60_000 },
  });
  store.objects.delete(entries[0]?.key ?? "");
  journal.failing = true;
  const scrub = open();
  await scrub.start();
  await pass(68_000, 500);
  expect(scrub.status()).toMatchObject({ quarantined: 0, damaged: 1 });
  expect(scrub.status().findings).toHaveLength(1);
  expect(lines.some(({ text }) => text.includes("could not be quarantined"))).toBe(true);
  journal.failing = false;
  await pass(68_000, 500);
  expect(registry.totals().quarantined).toBe(1);
  await scrub.stop();
});

test("an archive merged away while it was read is no finding", async () => {
  const { open, pass, store, entries, registry, lines } = await lab(1);
  const [old] = entries;
  if (old === undefined) throw new Error("no entry");
  store.head = async () => {
    const made = { ...old, generation: 2, key: `${old.key}.g2`, quarantined: undefined };
    const { quarantined: _, ...merged } = made;
    if (registry.entryOf(old.key)) await registry.replace([old], [merged]);
    return null;
  };
  const scrub = open();
  scrub.suspect(old);
  await scrub.start();
  await pass(7_000);
  expect(scrub.status()).toMatchObject({ damaged: 0, findings: [] });
  expect(errors(lines)).toEqual([]);
  await scrub.stop();
});

test("damage of the WAL is told with its place, and forgotten when put right", async () => {
  const findings = [{ file: "wal_0_3.log", reason: "at 88: checksum", first: 5, last: 9 }];
  const wal: ScrubbedWal = {
    ...{ topic: "t", topicId: "id-t", partition: 0 },
    verify: () => Promise.resolve({ bytes: 10, findings }),
  };
  const { open, pass, lines } = await lab(0, { wals: [wal], config: { intervalMs: 60_000 } });
  const scrub = open();
  await scrub.start();
  await pass(61_000, 500);
  expect(scrub.status().findings).toMatchObject([
    { kind: "wal", first: 5, last: 9, key: "wal_0_3.log" },
  ]);
  expect(errors(lines)).toEqual(["a WAL file is damaged"]);
  findings.length = 0;
  await pass(62_000, 500);
  expect(scrub.status().findings).toEqual([]);
  await scrub.stop();
});

test("a run that was asked for is given up when the store fails again and again", async () => {
  const { open, pass, store } = await lab(5, { config: { enabled: false } });
  store.head = (key) => Promise.reject(new StoreError("unavailable", key, "503"));
  const scrub = open();
  await scrub.start();
  expect(scrub.request("deep")).not.toBeNull();
  expect(scrub.request("deep")).toBeNull();
  await pass(1_000);
  expect(scrub.status().run?.error).toContain("3 times in a row");
  expect(scrub.request("shallow")).not.toBeNull();
  await scrub.stop();
});

test("walks cut anywhere give each entry once, in order", async () => {
  const shape = fc.array(fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 6 }), {
    maxLength: 4,
  });
  await fc.assert(
    fc.asyncProperty(shape, fc.infiniteStream(fc.boolean()), async (lengths, cuts) => {
      const registry = await SegmentRegistry.open(new MemoryJournal());
      for (const [partition, list] of lengths.entries()) {
        let next = 0;
        for (const length of list) {
          const key = `tantivy_indexes/t/partition-${partition}/segment-${next}.tar.gz`;
          await registry.add(segmentEntry(next, next + length - 1, { partition, key }), 0);
          next += length;
        }
      }
      const seen: string[] = [];
      let walk = new EntryWalk(registry, null);
      for (let entry = walk.next(); entry !== null; entry = walk.next()) {
        seen.push(entry.key);
        const kept = { startedMs: 1, cursor: walk.cursor, checked: 0, bytes: 0, damaged: 0 };
        const state = encodeState({ round: { ...kept, unchecked: 0 }, last: null });
        const cursor = decodeState(state)?.round?.cursor ?? null;
        if (cuts.next().value === true) walk = new EntryWalk(registry, cursor);
      }
      expect(seen).toEqual(registry.all().map(({ key }) => key));
    }),
    { numRuns: 200 },
  );
});

test("unnamed objects are found among a million, without holding them", async () => {
  const registry = await SegmentRegistry.open(new MemoryJournal());
  const named = segmentEntry(0, 9);
  const gone = segmentEntry(10, 19);
  await registry.add(named, 0);
  await registry.add(gone, 0);
  await registry.dropBefore("id-t", 0, 10);
  const total = 1_000_000;
  let pages = 0;
  const keyAt = (at: number) => `tantivy_indexes/x/partition-0/segment-${at + 1e9}.tar.gz`;
  const store = new MemoryStore("");
  store.list = (prefix, after, limit) => {
    expect(prefix).toBe("tantivy_indexes/");
    pages++;
    const from = after === null ? 0 : Number(/segment-(\d+)/.exec(after)?.[1]) - 1e9 + 1;
    const count = Math.min(limit, total - from);
    const objects = Array.from({ length: count }, (_, at) => ({
      key: from + at === 0 ? named.key : from + at === 1 ? gone.key : keyAt(from + at),
      bytes: 3,
      modifiedMs: from + at === 2 ? 9_000_000 : 1_000_000,
    }));
    return Promise.resolve({
      objects,
      next: from + count < total ? keyAt(from + count - 1) : null,
    });
  };
  const report = await findOrphans({
    ...{ store, registry, nowMs: () => 10_000_000, youngMs: 3_600_000 },
    onPage: () => Promise.resolve(true),
  });
  expect(report).toMatchObject({ objects: total, orphans: total - 3, young: 1 });
  expect(report?.orphanBytes).toBe(3 * (total - 3));
  expect(report?.list).toHaveLength(orphansKept);
  expect(report?.list[0]).toEqual({ key: keyAt(3), bytes: 3, ageMs: 9_000_000 });
  expect(pages).toBe(1_000);
});
