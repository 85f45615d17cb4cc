/** Starting and ending: exit codes, one line that says what to do, nothing lost. */
import { expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AckedLog } from "../crash/acked-log.ts";
import { CrashProducer } from "../crash/producer.ts";
import { connectTo } from "../crash/requester.ts";
import { PartitionChecker } from "../crash/verify.ts";
import { brokerBin, freePorts, startBroker, until } from "../support/broker-process.ts";
import { Kafka } from "./kafka.ts";

interface Ended {
  readonly code: number;
  readonly lines: string[];
}

/** Runs the executable to its end; what it printed, without log lines of a start under way. */
async function run(args: readonly string[]): Promise<Ended> {
  const command = brokerBin.endsWith(".ts") ? [process.execPath, brokerBin] : [brokerBin];
  const child = Bun.spawn([...command, ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: 20_000,
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  const lines = `${out}${err}`.split("\n").filter((line) => /^(chronik: |\s+at )/.test(line));
  return { code, lines };
}

async function flags(dataDir: string, kafkaPort?: number): Promise<string[]> {
  const [first, second] = (await freePorts(2)) as [number, number];
  const bind = `127.0.0.1:${kafkaPort ?? first}`;
  return ["--data-dir", dataDir, "--bind", bind, "--admin-bind", `127.0.0.1:${second}`];
}

test("a second broker on one data directory ends with 8 and does the first no harm", async () => {
  await using broker = await startBroker();
  const kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic("mine");
  await kafka.append("mine", 0, ["before"]);
  const { code, lines } = await run(await flags(broker.dataDir));
  expect(code).toBe(8);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toContain(broker.dataDir);
  await kafka.append("mine", 0, ["after"]);
  await broker.kill9();
  await broker.restart();
  const again = await Kafka.connect(broker.kafkaPort);
  expect(await again.values("mine", 0)).toEqual(["before", "after"]);
});

test("a port in use ends with 3 and one line that names it", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), "chronik-test-"));
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  for (const args of [
    await flags(dataDir, port),
    [...(await flags(dataDir)).slice(0, 4), "--admin-bind", `127.0.0.1:${port}`],
  ]) {
    const { code, lines } = await run(args);
    expect({ code, count: lines.length }).toEqual({ code: 3, count: 1 });
    expect(lines[0]).toContain(`${port}`);
  }
  server.close();
  rmSync(dataDir, { recursive: true });
});

test("a data directory that cannot be used ends with 12 and one line that names it", async () => {
  const root = mkdtempSync(join(tmpdir(), "chronik-test-"));
  const file = join(root, "file");
  writeFileSync(file, "not a folder");
  for (const dataDir of [file, join(file, "below"), "/proc/chronik"]) {
    const { code, lines } = await run(await flags(dataDir));
    expect({ dataDir, code, count: lines.length }).toEqual({ dataDir, code: 12, count: 1 });
    expect(lines[0]).toContain(dataDir);
  }
  // Root may write anywhere; everybody else may not write here.
  if (process.getuid?.() !== 0) {
    const closed = join(root, "closed");
    mkdirSync(closed);
    chmodSync(closed, 0o500);
    expect((await run(await flags(closed))).code).toBe(12);
    chmodSync(closed, 0o700);
  }
  rmSync(root, { recursive: true });
});

test("wrong settings end with 2 and one line", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), "chronik-test-"));
  for (const [wrong, names] of [
    [["--bind", "0.0.0.0:9092"], "advertised"],
    [["-X", "wal.segment_byte_max=1MiB"], "wal.segment_bytes_max"],
    [["--no-such-flag"], "--no-such-flag"],
  ] as const) {
    const { code, lines } = await run(["--data-dir", dataDir, ...wrong]);
    expect({ wrong, code, count: lines.length }).toEqual({ wrong, code: 2, count: 1 });
    expect(lines[0]).toContain(names);
  }
  rmSync(dataDir, { recursive: true });
});

test("SIGTERM under load: exit code 0, and every acknowledged record is there", async () => {
  await using broker = await startBroker();
  const kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic("drained", 2);
  const acked = new AckedLog();
  const connect = connectTo(broker.kafkaPort, "drain");
  const producers = [0, 1, 0, 1].map(
    (partition, id) => new CrashProducer(id, [{ topic: "drained", partition }], connect, acked),
  );
  const running = producers.map((producer) => producer.run());
  for (let round = 1; round <= 3; round++) {
    const before = acked.count;
    await until("the load runs", 20_000, () => acked.count > before + 100);
    expect(await broker.stop()).toBe(0);
    await broker.restart();
    expect(broker.log()).not.toContain("the last stop was not clean");
  }
  for (const producer of producers) producer.stop();
  await Promise.all(running);
  for (const { failure } of producers) expect(failure).toBe(null);
  const reader = await connect();
  for (const partition of [0, 1]) {
    await new PartitionChecker("drained", partition, acked).readAll(reader);
  }
}, 90_000);

test("SIGTERM ends fetches that wait and idle connections at once", async () => {
  await using broker = await startBroker();
  const kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic("still");
  const waiting = kafka.fetchOnce("still", [{ partition: 0, offset: 0 }], {
    maxWaitMs: 60_000,
    minBytes: 1,
  });
  const ended = waiting.then(
    () => "answered",
    () => "closed",
  );
  const startMs = performance.now();
  expect(await broker.stop()).toBe(0);
  expect(performance.now() - startMs).toBeLessThan(10_000);
  expect(["answered", "closed"]).toContain(await ended);
});
