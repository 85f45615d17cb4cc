import { rmSync } from "node:fs";
import { WireClient } from "../src/client/wire-client.ts";
import { createTopicsApi } from "../src/protocol/messages/19-create-topics.ts";
import { startBroker, until } from "../test/support/broker-process.ts";
import { cpuSecs, print, residentMib } from "./figures.ts";
import { executablePath, main, root } from "./support.ts";

/** Figures of scale, one JSON line each: start-up, idle memory, idle partitions, idle connections,
 * and with `--log-gib N` the start on a log of that size, after a clean stop and after kill -9. */

/** Share of one core used over `secs`, in percent. */
async function cpuPercent(pid: number, secs: number): Promise<number> {
  const before = cpuSecs(pid);
  await Bun.sleep(secs * 1000);
  return Math.round(((cpuSecs(pid) - before) / secs) * 1000) / 10;
}

async function startUp(): Promise<void> {
  const times: number[] = [];
  for (let run = 0; run < 5; run++) {
    await using broker = await startBroker({});
    times.push(broker.readyMs);
  }
  times.sort((a, b) => a - b);
  print("start_empty_ms", { median: Math.round(times[2] ?? 0), max: Math.round(times[4] ?? 0) });
}

async function idle(): Promise<void> {
  await using broker = await startBroker({});
  await Bun.sleep(5_000);
  print("idle", {
    resident_mib: residentMib(broker.pid),
    cpu_percent: await cpuPercent(broker.pid, 10),
  });
  const client = await connect(broker.kafkaPort);
  await createTopic(client, 2_000);
  client.close();
  await Bun.sleep(5_000);
  print("idle_2000_partitions", {
    resident_mib: residentMib(broker.pid),
    cpu_percent: await cpuPercent(broker.pid, 30),
  });
  const clients = await Promise.all(Array.from({ length: 5_000 }, () => connect(broker.kafkaPort)));
  print("idle_5000_connections", {
    accepted: clients.length,
    resident_mib: residentMib(broker.pid),
    cpu_percent: await cpuPercent(broker.pid, 10),
  });
  for (const each of clients) each.close();
}

function connect(port: number): Promise<WireClient> {
  return WireClient.connect({ host: "127.0.0.1", port, clientId: "scale" });
}

async function createTopic(client: WireClient, partitions: number): Promise<void> {
  const startMs = performance.now();
  const response = await client.request(createTopicsApi, 7, {
    topics: [
      {
        name: "idle",
        numPartitions: partitions,
        replicationFactor: 1,
        assignments: [],
        configs: [],
      },
    ],
    timeoutMs: 60_000,
    validateOnly: false,
  });
  print("create_2000_partitions", {
    error: response.topics[0]?.errorCode ?? -1,
    ms: Math.round(performance.now() - startMs),
  });
}

async function bigLog(gib: number): Promise<void> {
  const dataDir = `${root}/.cache/scale-log`;
  rmSync(dataDir, { recursive: true, force: true });
  try {
    await using broker = await startBroker({ dataDir, args: ["--no-wal-indexing"] });
    await fill(broker.bootstrap, broker.adminUrl, gib);
    await broker.stop();
    await broker.restart();
    print("start_big_log_clean_ms", { gib, ms: Math.round(broker.readyMs) });
    await broker.kill9();
    await broker.restart();
    print("start_big_log_killed_ms", { gib, ms: Math.round(broker.readyMs) });
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}

async function fill(bootstrap: string, adminUrl: string, gib: number): Promise<void> {
  await until(`${gib} GiB are in the log`, 1_800_000, async () => {
    const bench = Bun.spawn(
      [
        ...[executablePath("release"), "bench", "--bootstrap-servers", bootstrap],
        ...["--duration", "20", "--concurrency", "256", "--message-size", "16384"],
        ...["--topic", "big", "--partitions", "8"],
      ],
      { stdout: "ignore" },
    );
    await bench.exited;
    const status = (await (await fetch(`${adminUrl}/admin/wal/status`)).json()) as {
      partitions: { bytes: number }[];
    };
    return status.partitions.reduce((sum, { bytes }) => sum + bytes, 0) >= gib * 1024 ** 3;
  });
}

await main(async () => {
  await startUp();
  await idle();
  const at = process.argv.indexOf("--log-gib");
  if (at > 0) await bigLog(Number(process.argv[at + 1]));
  return 0;
});
