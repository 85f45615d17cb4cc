/** What a restore makes of a registry that is older than the metadata beside it. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { makeBackup } from "../../src/backup/backup-run.ts";
import { Restore, type RestoreParts } from "../../src/backup/restore.ts";
import { decodeEntry, encodeCommands } from "../../src/metadata/journal-entry.ts";
import { SegmentRegistry } from "../../src/tier/registry/segment-registry.ts";
import { LabJournal, LabPartition } from "../support/backup-lab.ts";
import { brokerExists } from "../support/broker-process.ts";
import { FakeClock } from "../support/fake-clock.ts";
import { MemoryJournal } from "../support/memory-journal.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { tempDir } from "../support/native.ts";
import { runRestore } from "../support/restore-process.ts";
import { segmentEntry } from "../support/segment-entry.ts";

const isCi = process.env["CI"] === "true";
const kept = "AAAAAAAAAAAAAAAAAAAAAQ";
const deleted = "AAAAAAAAAAAAAAAAAAAAAg";
const decoder = new TextDecoder();
const keyOf = (topic: string) => `tantivy_indexes/${topic}/partition-0/segment-0-9.tar.gz`;
const never = () => Promise.reject(new Error("not asked for here"));

test("entries of a topic that was deleted behind the registry's copy are retired", async () => {
  const store = new MemoryStore("");
  const [registry, metadata] = [new LabJournal(), new LabJournal()];
  const placed = { index: 0, leader: 1, leaderEpoch: 0, replicas: [1], isr: [1] };
  const topic = { type: "topic", internal: false, partitions: [placed], configs: [] } as const;
  metadata.append(
    decoder.decode(
      encodeCommands([
        { type: "cluster", clusterId: "lab" },
        { ...topic, name: "kept", id: kept },
        { ...topic, name: "deleted", id: deleted },
        { type: "topic-deleted", id: deleted },
        { type: "topic-cleaned", id: deleted },
      ]),
    ),
  );
  for (const [name, topicId] of [
    ["kept", kept],
    ["deleted", deleted],
  ] as const) {
    const segment = segmentEntry(0, 9, { topic: name, topicId, key: keyOf(name) });
    registry.append(JSON.stringify({ v: 1, type: "add", segment }));
    if (name === "deleted") await store.putBytes(segment.key, new Uint8Array(segment.bytes));
  }
  const mark = new LabPartition("kept", kept, 0, false);
  mark.highWatermark = 15;
  const backed = await makeBackup(
    {
      store,
      sources: { registry, metadata, partitions: () => [mark] },
      owner: { clusterId: "lab", sequence: 1 },
      ...{ nodeId: 1, run: "r", createdMs: 0 },
      pause: () => Promise.resolve(),
      skipped: () => undefined,
      faultPoint: () => Promise.resolve(),
    },
    null,
  );
  if (backed === null) throw new Error("nothing was backed up");

  const journals = { registry: new MemoryJournal(), metadata: new MemoryJournal() };
  const printed: string[] = [];
  const parts = {
    store,
    wal: null,
    files: { makeDir: () => Promise.resolve(), writeFile: () => Promise.resolve() },
    clock: new FakeClock(),
    pause: () => Promise.resolve(),
    dir: "/restoring",
    newJournal: (name: "registry" | "metadata") =>
      Promise.resolve({
        append: (entry: Uint8Array) => journals[name].append(entry),
        close: () => Promise.resolve(),
      }),
    openRegistry: async () => ({
      registry: await SegmentRegistry.open(journals.registry),
      close: () => Promise.resolve(),
    }),
    readArchive: never,
    print: (line: string) => void printed.push(line),
    faultPoint: () => Promise.resolve(),
  } as unknown as RestoreParts;
  await new Restore(parts, backed.manifest).run();

  const restored = await SegmentRegistry.open(journals.registry);
  expect(restored.all().map(({ topicId }) => topicId)).toEqual([kept]);
  expect([...restored.retiredObjects()].map(({ topicId }) => topicId)).toEqual([deleted]);
  // The object of the topic that stays was never put: told, and kept from readers.
  expect(restored.find(kept, 0, 5)?.quarantined?.reason).toContain("is missing");
  expect(printed.join("\n")).toContain("0 of 1 archives are there");
  expect(printed.join("\n")).toContain("lost: kept-0 offsets 10 to 14");
  const [entry] = journals.metadata.entries.map(decodeEntry);
  expect(entry?.snapshot?.topics.map(({ name }) => name)).toEqual(["kept"]);
});

test.skipIf(!isCi && !brokerExists)(
  "a store that is away is no bug, and said",
  async () => {
    using dir = tempDir();
    const { code, err } = await runRestore(["--data-dir", join(dir.path, "data")], {
      OBJECT_STORE_BACKEND: "s3",
      S3_ENDPOINT: "http://127.0.0.1:9",
      S3_REGION: "us-east-1",
      S3_BUCKET: "nowhere",
      S3_ACCESS_KEY: "a",
      S3_SECRET_KEY: "b",
    });
    expect(code).toBe(1);
    expect(err).toContain("nothing was restored, try again [CHRONIK_RESTORE]");
    expect(err).not.toContain("bug");
  },
  60_000,
);
