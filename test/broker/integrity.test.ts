/** Damage is found before a reader meets it, reported with its place, kept from readers, and taken
 * back into use when the object is put right: by the running broker and by `segment verify`. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { busyTierArgs, registrySegments, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, brokerBin, startBroker, until } from "../support/broker-process.ts";
import { Kafka } from "./kafka.ts";

interface Integrity {
  readonly quarantined: number;
  readonly run: null | {
    readonly finished_at: string | null;
    readonly checked: number;
    readonly damaged: number;
  };
  readonly findings: readonly {
    readonly kind: string;
    readonly topic: string;
    readonly partition: number;
    readonly first_offset: number;
    readonly last_offset: number;
    readonly key: string;
    readonly reason: string;
    readonly do: string;
  }[];
  readonly orphans: null | {
    readonly orphans: number;
    readonly list: readonly { readonly key: string; readonly bytes: number }[];
    readonly too_young_to_tell: number;
  };
}

const storageError = ErrorCode.KAFKA_STORAGE_ERROR;
const texts = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, at) => `value ${from + at} ${"x".repeat(2000)}`);

let broker: BrokerProcess;
let kafka: Kafka;

beforeEach(async () => {
  // Nothing cached: every cold read asks the store.
  const uncached = ["-X", "limits.tail_cache_bytes_max=0", "-X", "limits.chunk_cache_bytes_max=0"];
  broker = await startBroker({ args: [...busyTierArgs, ...uncached] });
  kafka = await Kafka.connect(broker.kafkaPort);
});
afterEach(async () => await broker?.[Symbol.asyncDispose]());

/** Two partitions with archives of offsets 0-49 and 50-99, everything released. */
async function fill(): Promise<void> {
  await kafka.createTopic("kept", 2);
  for (const from of [0, 50]) {
    for (const partition of [0, 1]) await kafka.append("kept", partition, texts(from, from + 50));
    await untilAllArchived(broker);
  }
}

async function archive(partition: number, base: number): Promise<{ key: string; path: string }> {
  const all = await registrySegments(broker);
  const found = all.find((s) => s.partition === partition && s.base_offset === base);
  if (found === undefined) throw new Error(`no archive of ${partition} at ${base}`);
  return { key: found.key, path: join(broker.dataDir, found.key) };
}

async function integrity(): Promise<Integrity> {
  const response = await fetch(`${broker.adminUrl}/admin/integrity`);
  return (await response.json()) as Integrity;
}

async function run(deep: boolean): Promise<Integrity> {
  const url = `${broker.adminUrl}/admin/integrity/run?deep=${deep}`;
  expect((await fetch(url, { method: "POST" })).status).toBe(202);
  await until("the run ends", 30_000, async () => (await integrity()).run?.finished_at != null);
  return integrity();
}

function flip(path: string, at: number): Buffer {
  const good = readFileSync(path);
  const bad = Buffer.from(good);
  bad[at] = (bad[at] ?? 0) ^ 0x10;
  writeFileSync(path, bad);
  return good;
}

async function failing(partition: number): Promise<number[]> {
  const failed: number[] = [];
  for (let offset = 0; offset < 100; offset += 5) {
    const answer = await kafka.fetchAt("kept", partition, offset);
    if (answer.errorCode !== 0) {
      expect(answer.errorCode).toBe(storageError);
      failed.push(offset);
    } else {
      expect(answer.records?.length).toBeGreaterThan(0);
    }
  }
  return failed;
}

const offsets = (from: number, to: number) =>
  Array.from({ length: (to - from) / 5 }, (_, at) => from + at * 5);

interface Verified {
  readonly code: number;
  readonly lines: readonly Record<string, unknown>[];
}

async function verify(...args: string[]): Promise<Verified> {
  return verifyIn(broker.dataDir, ...args);
}

async function verifyIn(dataDir: string, ...args: string[]): Promise<Verified> {
  const command = [brokerBin, "--data-dir", dataDir, "segment", "verify", "--json", ...args];
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
  const [text, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  const lines = text.split("\n").filter((line) => line !== "");
  const parsed = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  if (parsed.length === 0) parsed.push({ type: "error", text: errors });
  return { code: await child.exited, lines: parsed };
}

const ofType = ({ lines }: Verified, type: string) => lines.filter((line) => line["type"] === type);

describe("in a running broker", () => {
  test("a deep run finds a flipped bit, quarantines over a restart, takes back", async () => {
    await fill();
    expect((await run(true)).findings).toEqual([]);
    const { key, path } = await archive(0, 0);
    const good = flip(path, Math.floor(readFileSync(path).length * 0.4));
    // Sizes, manifest and table of contents are as they were.
    expect((await run(false)).quarantined).toBe(0);
    const found = await run(true);
    expect(found.quarantined).toBe(1);
    const place = {
      kind: "archive",
      topic: "kept",
      partition: 0,
      first_offset: 0,
      last_offset: 49,
    };
    expect(found.findings).toEqual([expect.objectContaining({ ...place, key })] as never[]);
    expect(found.findings[0]?.do).toContain("put the object back");
    expect(broker.log()).toContain("an archive is damaged");
    expect(readFileSync(path).length).toBe(good.length);
    expect(await failing(0)).toEqual(offsets(0, 50));
    expect(await failing(1)).toEqual([]);
    await broker.restart();
    kafka = await Kafka.connect(broker.kafkaPort);
    expect((await integrity()).quarantined).toBe(1);
    expect(await failing(0)).toEqual(offsets(0, 50));
    writeFileSync(path, good);
    // Still in quarantine: only a check that reads all of it takes it out, and any run makes one.
    expect(await failing(0)).toEqual(offsets(0, 50));
    const after = await run(false);
    expect(after).toMatchObject({ quarantined: 0, findings: [] });
    expect(await kafka.values("kept", 0)).toEqual(texts(0, 100));
  }, 120_000);

  test("a read that meets damage has it looked at, and other offsets stay readable", async () => {
    await fill();
    const { path } = await archive(1, 50);
    truncateSync(path, 100);
    // Without what was just written in memory.
    await broker.restart();
    kafka = await Kafka.connect(broker.kafkaPort);
    expect(await failing(1)).toEqual(offsets(50, 100));
    await until("it is in quarantine", 30_000, async () => (await integrity()).quarantined === 1);
    expect((await integrity()).findings[0]?.reason).toMatch(/100 bytes/);
    expect(await failing(1)).toEqual(offsets(50, 100));
    expect(await failing(0)).toEqual([]);
    // What lies before the damage is given although the read reaches into it.
    const before = await kafka.fetchAt("kept", 1, 48);
    expect(before.errorCode).toBe(0);
  }, 120_000);

  test("a missing object, a sibling's, and one that nothing names", async () => {
    await fill();
    const [first, second, third] = [await archive(0, 0), await archive(0, 50), await archive(1, 0)];
    rmSync(first.path);
    copyFileSync(third.path, second.path);
    const stray = "tantivy_indexes/gone/partition-7/segment-0-9.tar.gz";
    mkdirSync(dirname(join(broker.dataDir, stray)), { recursive: true });
    writeFileSync(join(broker.dataDir, stray), "left over");
    const found = await run(false);
    const keys = found.findings.map(({ key }) => key).sort();
    expect(keys).toEqual([first.key, second.key].sort());
    // It was put a moment ago: it could be on its way into the registry.
    expect(found.orphans).toMatchObject({ orphans: 0, too_young_to_tell: 1 });
    expect(await failing(0)).toEqual(offsets(0, 100));
    expect(await failing(1)).toEqual([]);
    expect(readdirSync(dirname(second.path))).toHaveLength(1);
  }, 120_000);

  test("one run at a time, and what is asked for must be plain", async () => {
    const url = `${broker.adminUrl}/admin/integrity/run`;
    expect((await fetch(`${url}?deep=yes`, { method: "POST" })).status).toBe(400);
    const both = await Promise.all([
      fetch(url, { method: "POST" }),
      fetch(url, { method: "POST" }),
    ]);
    expect(both.map(({ status }) => status).sort()).toEqual([202, 409]);
  }, 60_000);
});

describe("chronik segment verify", () => {
  test("needs the data directory for itself, and says how to ask a running broker", async () => {
    const refused = await verify();
    expect(refused.code).toBe(8);
    expect(refused.lines[0]?.["text"]).toContain("POST /admin/integrity/run");
  }, 60_000);

  test("does not call a folder sound that holds nothing, and makes none", async () => {
    const mistyped = join(broker.dataDir, "mistyped");
    const refused = await verifyIn(mistyped);
    expect([refused.code, existsSync(mistyped)]).toEqual([12, false]);
    expect(refused.lines[0]?.["text"]).toContain("holds no data of a broker");
  }, 60_000);

  test("tells archives, WAL files and strays apart, with place and exit code", async () => {
    await fill();
    await kafka.createTopic("live", 1);
    await kafka.append("live", 0, texts(0, 20));
    const { key, path } = await archive(0, 50);
    expect(await broker.stop()).toBe(0);
    const sound = await verify("--deep");
    expect(sound.code).toBe(0);
    expect(ofType(sound, "summary")[0]).toMatchObject({ sound: 4, damaged: 0, unchecked: 0 });

    const good = flip(path, Math.floor(readFileSync(path).length * 0.4));
    expect((await verify()).code).toBe(0);
    const damaged = await verify("--deep", "--topic", "kept", "--partition", "0");
    expect(damaged.code).toBe(7);
    const place = { topic: "kept", partition: 0, first_offset: 50, last_offset: 99, key };
    expect(ofType(damaged, "finding")).toEqual([
      expect.objectContaining({ kind: "archive", ...place }) as Record<string, unknown>,
    ]);
    expect((await verify("--deep", "--topic", "kept", "--partition", "1")).code).toBe(0);
    writeFileSync(path, good);

    const wal = join(broker.dataDir, "wal/live/0/wal_0_0.log");
    const before = flip(wal, 1000);
    const hurt = await verify("--deep", "--topic", "live");
    expect(hurt.code).toBe(7);
    expect(ofType(hurt, "finding")[0]).toMatchObject({ kind: "wal", topic: "live", key: wal });
    writeFileSync(wal, before);

    const journal = join(broker.dataDir, "registry/journal_0.log");
    const entries = flip(journal, 150);
    const lost = await verify();
    expect(lost.code).toBe(7);
    expect(ofType(lost, "finding")[0]).toMatchObject({ kind: "journal" });
    writeFileSync(journal, entries);
    expect((await verify("--deep")).code).toBe(0);
  }, 120_000);
});
