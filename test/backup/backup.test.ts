import { expect, test } from "bun:test";
import { chooseCluster, findBackup, findClusters } from "../../src/backup/find-backup.ts";
import {
  logHead,
  type Manifest,
  manifestKey,
  type Part,
  partsOf,
} from "../../src/backup/format.ts";
import { readFrames } from "../../src/backup/parts.ts";
import type { BrokerError } from "../../src/lib/errors.ts";
import { batchesIn, recordsPayload } from "../../src/protocol/record-batch.ts";
import { parseRecords } from "../../src/protocol/records.ts";
import { StoreError } from "../../src/store/object-store.ts";
import { backupLab, LabPartition } from "../support/backup-lab.ts";
import { MemoryStore } from "../support/memory-store.ts";

const noPause = () => Promise.resolve();
const topicId = "AAAAAAAAAAAAAAAAAAAAAQ";

async function texts(store: MemoryStore, parts: readonly Part[]): Promise<string[]> {
  const found: string[] = [];
  for await (const { data } of readFrames(store, parts, noPause)) {
    found.push(Buffer.from(data).toString());
  }
  return found;
}

/** Keys by offset, as a restore takes them: what lies before a reset does not count. */
async function keysOf(store: MemoryStore, { logs }: Manifest): Promise<Record<number, string>> {
  let keys: Record<number, string> = {};
  for await (const { head, data, key } of readFrames(store, logs, noPause)) {
    if (logHead(head, key).reset) keys = {};
    for (const { position, header } of batchesIn(data)) {
      const [record] = parseRecords(recordsPayload(data, position, header), header);
      keys[header.baseOffset] = Buffer.from(record?.key ?? []).toString();
    }
  }
  return keys;
}

test("journals go up once, then only what is new, and whole again behind a snapshot", async () => {
  const store = new MemoryStore("");
  const { backup, registry } = backupLab(store);
  registry.append("a");
  registry.append("b");
  await backup.backUp();
  registry.append("c");
  await backup.backUp();
  const second = await findBackup(store, "lab", null);
  expect(second.sequence).toBe(2);
  expect(await texts(store, second.registry.parts)).toEqual(["a", "b", "c"]);
  expect(registry.copies).toEqual([null, 2]);
  expect(second.registry.parts).toHaveLength(2);
  registry.append("never seen");
  registry.snapshot("abc");
  registry.append("d");
  await backup.backUp();
  const third = await findBackup(store, "lab", null);
  expect(await texts(store, third.registry.parts)).toEqual(["abc", "d"]);
});

test("nothing new makes no new backup, and counts as one", async () => {
  const store = new MemoryStore("");
  const { backup, registry, partitions } = backupLab(store);
  partitions.push(new LabPartition("__consumer_offsets", topicId, 0, true));
  registry.append("a");
  await backup.backUp();
  const objects = store.objects.size;
  await backup.backUp();
  expect(backup.status).toMatchObject({ sequence: 1, succeeded: 2, failed: 0, lastError: null });
  expect(store.objects.size).toBe(objects);
});

test("a log goes up once, then what is new; what was cleaned unseen is taken whole", async () => {
  const store = new MemoryStore("");
  const { backup, partitions } = backupLab(store);
  const log = new LabPartition("__consumer_offsets", topicId, 0, true);
  partitions.push(log);
  log.append("k0");
  log.append("k1");
  await backup.backUp();
  log.append("k2");
  await backup.backUp();
  const before = await findBackup(store, "lab", null);
  expect(before.logs).toHaveLength(2);
  expect(await keysOf(store, before)).toEqual({ 0: "k0", 1: "k1", 2: "k2" });
  // A tombstone at 3 was cleaned away with the record at 0 before it was ever backed up.
  log.append("k0");
  log.append("k4");
  log.batches = log.batches.filter(({ offset }) => offset !== 0 && offset !== 3);
  log.list = [{ id: 1, base: 0, last: 3, bytes: 10, cleaned: true }];
  await backup.backUp();
  const after = await findBackup(store, "lab", null);
  expect(await keysOf(store, after)).toEqual({ 1: "k1", 2: "k2", 4: "k4" });
  expect(after.logs).toHaveLength(1);
});

test("a log that is cleaned while it is read is read again", async () => {
  const store = new MemoryStore("");
  const { backup, partitions } = backupLab(store);
  const log = new LabPartition("__consumer_offsets", topicId, 0, true);
  partitions.push(log);
  for (const key of ["x", "y", "x"]) log.append(key);
  log.onRead = () => {
    log.onRead = () => {
      // The record at 0 was read; the tombstone at 2 goes before it is.
      log.batches = log.batches.filter(({ offset }) => offset === 1);
      log.list = [{ id: 1, base: 0, last: 2, bytes: 10, cleaned: true }];
    };
  };
  await backup.backUp();
  expect(backup.status.lastError).toBeNull();
  expect(await keysOf(store, await findBackup(store, "lab", null))).toEqual({ 1: "y" });
});

test("old backups go when newer ones are complete; what those need stays", async () => {
  const store = new MemoryStore("");
  const { backup, registry } = backupLab(store);
  for (let n = 0; n < 6; n++) {
    registry.append(`entry ${n}`);
    await backup.backUp();
  }
  const manifests = [...store.objects.keys()].filter((key) => key.includes("/manifests/"));
  expect(manifests.sort()).toEqual([4, 5, 6].map((n) => manifestKey("lab", n)));
  for (const sequence of [4, 5, 6]) {
    const manifest = await findBackup(store, "lab", sequence);
    expect(await texts(store, manifest.registry.parts)).toHaveLength(sequence);
  }
  // A start goes on with the numbers, and what nothing names any more goes.
  const next = backupLab(store);
  for (let n = 0; n < 4; n++) {
    next.registry.append("again");
    await next.backup.backUp();
  }
  expect(next.backup.status.sequence).toBe(10);
  const parts = [...store.objects.keys()].filter((key) => key.includes("-registry-"));
  expect(parts).toHaveLength(4);
});

test("what failed backups left goes with the next complete one", async () => {
  const store = new MemoryStore("");
  const { backup, registry, metadata } = backupLab(store);
  metadata.append("m");
  registry.append("first");
  await backup.backUp();
  const putBytes = store.putBytes.bind(store);
  store.putBytes = async (key, bytes) => {
    if (key.includes("/manifests/")) throw new StoreError("unavailable", key, "no answer");
    return putBytes(key, bytes);
  };
  for (let n = 0; n < 3; n++) {
    registry.append(`failed ${n}`);
    await backup.backUp();
  }
  expect(backup.status).toMatchObject({ failed: 3, sequence: 1 });
  store.putBytes = putBytes;
  for (let n = 0; n < 2; n++) {
    registry.append(`later ${n}`);
    await backup.backUp();
  }
  const named = new Set<string>();
  for (const sequence of [1, 2, 3]) {
    for (const part of partsOf(await findBackup(store, "lab", sequence))) named.add(part.key);
  }
  const parts = [...store.objects.keys()].filter((key) => key.includes("/parts/"));
  expect(new Set(parts)).toEqual(named);
});

test("a journal that is replaced by its snapshot while it is copied is copied again", async () => {
  const store = new MemoryStore("");
  const { backup, registry } = backupLab(store);
  for (const text of ["a", "b", "c"]) registry.append(text);
  const copy = registry.copy.bind(registry);
  registry.copy = async (from, _to, onEntry) => {
    registry.copy = copy;
    await copy(from, 1, onEntry);
    registry.snapshot("abc");
    throw new Error("the journal has no entry 1");
  };
  await backup.backUp();
  expect(backup.status).toMatchObject({ failed: 0, succeeded: 1 });
  const { registry: backed } = await findBackup(store, "lab", null);
  expect(await texts(store, backed.parts)).toEqual(["abc"]);
  // What fails for other reasons is a failure.
  registry.append("d");
  registry.copy = () => Promise.reject(new Error("the disk is away"));
  await backup.backUp();
  expect(backup.status.lastError).toContain("the disk is away");
});

test("the gate opens when a complete backup holds what the registry's journal held", async () => {
  const store = new MemoryStore("");
  const { backup, registry } = backupLab(store);
  registry.append("retired");
  let isOpen = false;
  const gate = backup.gate().then(() => {
    isOpen = true;
  });
  const { putBytes } = store;
  store.putBytes = () => Promise.reject(new StoreError("unavailable", "k", "away"));
  await backup.backUp();
  expect([isOpen, backup.status.failed]).toEqual([false, 1]);
  store.putBytes = putBytes;
  await backup.backUp();
  await gate;
  expect(isOpen).toBe(true);
  await backup.gate();
  registry.append("retired later");
  const late = backup.gate();
  store.putBytes = () => Promise.reject(new StoreError("unavailable", "k", "away"));
  await backup.stop();
  expect(late).rejects.toThrow("stops before");
});

test("a backup under way does not open the gate for what came behind its copy", async () => {
  const store = new MemoryStore("");
  const { backup, registry } = backupLab(store);
  registry.append("before");
  const put = store.putBytes.bind(store);
  let isOpen = false;
  store.putBytes = (key, bytes) => {
    store.putBytes = put;
    registry.append("behind");
    void backup.gate().then(() => {
      isOpen = true;
    });
    return put(key, bytes);
  };
  await backup.backUp();
  expect([isOpen, backup.status.succeeded]).toEqual([false, 1]);
  await backup.backUp();
  expect(isOpen).toBe(true);
});

test("another's manifest is known behind a failure too", async () => {
  const store = new MemoryStore("");
  const { backup, registry } = backupLab(store);
  registry.append("a");
  await backup.backUp();
  const put = store.putBytes.bind(store);
  store.putBytes = () => Promise.reject(new StoreError("unavailable", "k", "away"));
  registry.append("b");
  await backup.backUp();
  store.putBytes = put;
  const other = backupLab(store);
  other.registry.append("other");
  await other.backup.backUp();
  await backup.backUp();
  expect(backup.status.lastError).toContain("two brokers run as cluster lab");
});

test("without backups nothing waits", async () => {
  const { backup, registry } = backupLab(new MemoryStore(""), { enabled: false });
  registry.append("retired");
  await backup.gate();
  await backup.stop();
  expect(backup.status.enabled).toBe(false);
});

test("a manifest whose answer was lost is known as ours; another's stops the backups", async () => {
  const store = new MemoryStore("");
  const { backup, registry } = backupLab(store);
  registry.append("a");
  const put = store.putBytes.bind(store);
  store.putBytes = async (key, bytes) => {
    await put(key, bytes);
    if (!key.includes("/manifests/")) return "stored";
    store.putBytes = put;
    throw new StoreError("unavailable", key, "the answer was lost");
  };
  await backup.backUp();
  expect(backup.status.failed).toBe(1);
  registry.append("b");
  await backup.backUp();
  expect(backup.status).toMatchObject({ sequence: 2, lastError: null });

  const other = backupLab(store);
  other.registry.append("other");
  await other.backup.backUp();
  expect(other.backup.status.sequence).toBe(3);
  registry.append("c");
  await backup.backUp();
  expect(backup.status.lastError).toContain("two brokers run as cluster lab");
  const before = store.objects.size;
  await backup.backUp();
  expect(store.objects.size).toBe(before);
  const third = await findBackup(store, "lab", 3);
  expect(await texts(store, third.registry.parts)).toEqual(["other"]);
});

test("clusters are found by name, whatever characters they have", async () => {
  const store = new MemoryStore("");
  for (const cluster of ["a", "a0", "a/b c", "ü"]) {
    await store.putBytes(manifestKey(cluster, 1), new Uint8Array(1));
    await store.putBytes(manifestKey(cluster, 2), new Uint8Array(1));
  }
  expect((await findClusters(store)).sort()).toEqual(["a", "a/b c", "a0", "ü"]);
  expect(chooseCluster(store, null)).rejects.toThrow("several clusters");
  expect(await chooseCluster(store, "a/b c")).toBe("a/b c");
  expect(chooseCluster(store, "z")).rejects.toThrow("no backup of cluster z");
  expect(chooseCluster(new MemoryStore(""), null)).rejects.toThrow("--from-manifests");
});

test("what is torn, missing, swapped or hostile is refused by name", async () => {
  const store = new MemoryStore("");
  const { backup, registry } = backupLab(store);
  registry.append("a".repeat(1_000));
  await backup.backUp();
  const manifest = await findBackup(store, "lab", null);
  const [part] = manifest.registry.parts;
  if (part === undefined) throw new Error("no part");
  const whole = store.objects.get(part.key) ?? new Uint8Array();
  const flipped = whole.slice();
  flipped[20] = (flipped[20] ?? 0) ^ 1;
  const read = (one: Part) => texts(store, [one]);
  for (const bytes of [whole.subarray(1), flipped, new Uint8Array(whole.length), null]) {
    if (bytes === null) store.objects.delete(part.key);
    else store.objects.set(part.key, bytes);
    const error: unknown = await read(part).catch((thrown: unknown) => thrown);
    expect((error as BrokerError).code).toBe("CHRONIK_BACKUP_DAMAGED");
    expect((error as BrokerError).message).toContain(part.key);
  }
  // A bomb: the hash is right, the stated size is not.
  const bomb = Bun.gzipSync(new Uint8Array(10_000_000));
  const sha256 = new Bun.CryptoHasher("sha256").update(bomb).digest("hex");
  store.objects.set(part.key, bomb);
  expect(read({ ...part, bytes: bomb.length, sha256 })).rejects.toThrow("cannot be unpacked");

  const key = manifestKey("lab", 1);
  const name = async (bytes: Uint8Array) => {
    store.objects.set(key, bytes);
    const error: unknown = await findBackup(store, "lab", null).catch((thrown: unknown) => thrown);
    expect((error as BrokerError).message).toContain(key);
    return (error as BrokerError).code;
  };
  const json = (change: object) =>
    Bun.gzipSync(
      Buffer.from(JSON.stringify({ format: "chronik-backup", version: 1, ...manifest, ...change })),
    );
  const damaged = "CHRONIK_BACKUP_DAMAGED";
  expect(await name(json({}).subarray(0, 50))).toBe(damaged);
  expect(await name(Buffer.from("not gzip"))).toBe(damaged);
  expect(await name(json({ clusterId: "other" }))).toBe(damaged);
  expect(await name(json({ version: 2 }))).toBe("CHRONIK_BACKUP_VERSION");
  expect(await name(json({ logs: [{ ...part, key: "meta/lab/../../etc" }] }))).toBe(damaged);
  expect(await name(json({ logs: [{ ...part, key: "tantivy_indexes/x" }] }))).toBe(damaged);
  expect(await name(json({ logs: [{ ...part, rawBytes: 2 ** 40 }] }))).toBe(damaged);
  expect(await name(json({ registry: null }))).toBe(damaged);
});
