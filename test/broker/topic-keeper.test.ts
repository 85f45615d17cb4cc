import { expect, test } from "bun:test";
import { TopicKeeper } from "../../src/broker-topics.ts";
import type { ObjectStore } from "../../src/store/object-store.ts";
import { SegmentRegistry } from "../../src/tier/segment-registry.ts";
import { LogLab, turn } from "../support/log-lab.ts";
import { MemoryJournal } from "../support/memory-journal.ts";
import { noSpace } from "../support/memory-wal.ts";
import { openMetadata, spec } from "../support/metadata.ts";
import { silentLogger } from "../support/silent-logger.ts";

test("a topic whose files a full disk refused is opened when there is room again", async () => {
  const lab = new LogLab();
  const { partitions, clock } = lab;
  const metadata = await openMetadata();
  const keeper = new TopicKeeper({
    metadata,
    partitions,
    registry: await SegmentRegistry.open(new MemoryJournal()),
    store: {} as ObjectStore,
    clock,
    logger: silentLogger(),
  });
  await keeper.start();
  lab.files.failWrite = () => noSpace();
  const [created] = await metadata.createTopics([spec("full")], false);
  expect(created?.errorCode).toBe(0);
  expect(partitions.get("full", 0)).toBeUndefined();
  clock.advance(5_000);
  await turn();
  expect(partitions.get("full", 0)).toBeUndefined();
  lab.files.failWrite = () => null;
  clock.advance(5_000);
  await turn();
  expect(partitions.get("full", 0)?.isOpen).toBe(true);
  expect(metadata.isUsable(created?.topic?.id ?? "")).toBe(true);
});
