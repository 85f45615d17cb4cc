import { readFileSync } from "node:fs";
import { WireClient } from "../src/client/wire-client.ts";
import { apiVersionsApi } from "../src/protocol/messages/18-api-versions.ts";
import { createTopicsApi } from "../src/protocol/messages/19-create-topics.ts";
import { startBroker, until } from "../test/support/broker-process.ts";
import {
  ClassicMember,
  ConsumerMember,
  OwnershipLedger,
  type SimulatedGroup,
  type SimulatedMember,
} from "../test/support/group-members.ts";
import { main } from "./support.ts";

/**
 * What many groups cost, one JSON line a figure: memory and heartbeats of `--groups 500` with
 * `--members 2000` in all, and how late the broker's event loop is, at rest and while members come
 * and go. A probe asks for ApiVersions every 5 ms on a connection of its own: what its answers take
 * is the loop's lag and more. `--protocol classic` for the old protocol.
 */

const clockTicksPerSec = 100;
const sessionTimeoutMs = 45_000;
const heartbeatMs = 5_000;
const partitionsPerGroup = 6;

function print(figure: string, values: Readonly<Record<string, number | string>>): void {
  process.stdout.write(`${JSON.stringify({ figure, ...values })}\n`);
}

function residentMib(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
}

function cpuSecs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / clockTicksPerSec;
}

/** Round trips of a small request, in ms. */
class Probe {
  private times: number[] = [];
  private isOver = false;

  async run(port: number): Promise<void> {
    const client = await WireClient.connect({ host: "127.0.0.1", port, clientId: "probe" });
    const request = { clientSoftwareName: "probe", clientSoftwareVersion: "1" };
    while (!this.isOver) {
      const startMs = performance.now();
      await client.request(apiVersionsApi, 3, request);
      this.times.push(performance.now() - startMs);
      await Bun.sleep(5);
    }
    client.close();
  }

  stop(): void {
    this.isOver = true;
  }

  /** Since the last call. */
  figures(): Record<string, number> {
    const sorted = this.times.toSorted((left, right) => left - right);
    this.times = [];
    const at = (share: number): number => {
      const value = sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? 0;
      return Math.round(value * 100) / 100;
    };
    return { probes: sorted.length, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1) };
  }
}

interface Crowd {
  readonly groups: readonly SimulatedGroup[];
  readonly members: SimulatedMember[][];
}

function argument(name: string, fallback: string): string {
  const at = process.argv.indexOf(`--${name}`);
  return (at < 0 ? undefined : process.argv[at + 1]) ?? fallback;
}

function newMember(group: SimulatedGroup, name: string): SimulatedMember {
  const isClassic = argument("protocol", "consumer") === "classic";
  return isClassic ? new ClassicMember(group, name) : new ConsumerMember(group, name);
}

async function gather(port: number, groupCount: number, memberCount: number): Promise<Crowd> {
  const ledgers = Array.from({ length: groupCount }, () => new OwnershipLedger(sessionTimeoutMs));
  const groups = ledgers.map((ledger, index): SimulatedGroup => {
    const [groupId, topic] = [`group-${index}`, `topic-${index % 50}`];
    const partitions = partitionsPerGroup;
    return { port, groupId, topic, partitions, sessionTimeoutMs, heartbeatMs, ledger };
  });
  const members: SimulatedMember[][] = groups.map(() => []);
  for (let index = 0; index < memberCount; index++) {
    const group = groups[index % groupCount];
    if (group === undefined) continue;
    const member = newMember(group, `member-${index}`);
    members[index % groupCount]?.push(member);
    member.start();
    if (index % 50 === 49) await Bun.sleep(50);
  }
  return { groups, members };
}

function isComplete({ members }: Crowd): boolean {
  return members.every((list) => {
    return list.reduce((sum, member) => sum + member.owned.size, 0) === partitionsPerGroup;
  });
}

/** For `secs` seconds, one member after the other is replaced by a new one. */
async function churn(crowd: Crowd, secs: number): Promise<number> {
  const endMs = performance.now() + secs * 1_000;
  let replaced = 0;
  while (performance.now() < endMs) {
    const index = replaced % crowd.groups.length;
    const group = crowd.groups[index];
    const leaving = crowd.members[index]?.shift();
    if (group === undefined || leaving === undefined) break;
    void leaving.leave();
    const coming = newMember(group, `late-${replaced++}`);
    crowd.members[index]?.push(coming);
    coming.start();
    await Bun.sleep(100);
  }
  return replaced;
}

await main(async () => {
  const groupCount = Number(argument("groups", "500"));
  const memberCount = Number(argument("members", "2000"));
  const secs = Number(argument("secs", "30"));
  await using broker = await startBroker({});
  const client = await WireClient.connect({
    host: "127.0.0.1",
    port: broker.kafkaPort,
    clientId: "bench",
  });
  const topics = Array.from({ length: 50 }, (_, index) => ({
    name: `topic-${index}`,
    numPartitions: partitionsPerGroup,
    replicationFactor: 1,
    assignments: [],
    configs: [],
  }));
  await client.request(createTopicsApi, 5, { topics, timeoutMs: 30_000, validateOnly: false });
  client.close();
  const memoryBefore = residentMib(broker.pid);
  const probe = new Probe();
  const probing = probe.run(broker.kafkaPort);
  const startMs = performance.now();
  const crowd = await gather(broker.kafkaPort, groupCount, memberCount);
  await until("every partition has an owner", 120_000, () => isComplete(crowd), 100);
  const joinSecs = Math.round((performance.now() - startMs) / 100) / 10;
  print("joined", { groups: groupCount, members: memberCount, secs: joinSecs, ...probe.figures() });

  await Bun.sleep(5_000);
  probe.figures();
  const before = cpuSecs(broker.pid);
  await Bun.sleep(secs * 1_000);
  const cpu = cpuSecs(broker.pid) - before;
  const figures = probe.figures();
  const requests = (memberCount * secs * 1_000) / heartbeatMs + (figures["probes"] ?? 0);
  print("at_rest", {
    heartbeats_per_sec: (memberCount * 1_000) / heartbeatMs,
    cpu_percent: Math.round((cpu / secs) * 1_000) / 10,
    cpu_us_per_request: Math.round((cpu / requests) * 1e6),
    ...figures,
  });
  print("memory", {
    before_mib: memoryBefore,
    resident_mib: residentMib(broker.pid),
    kib_per_member: Math.round(((residentMib(broker.pid) - memoryBefore) * 1_024) / memberCount),
  });
  const replaced = await churn(crowd, secs);
  print("members_come_and_go", { replaced, ...probe.figures() });
  const violations = crowd.groups.flatMap(({ ledger }) => ledger.violations);
  print("violations", { count: violations.length });
  probe.stop();
  await probing;
  for (const list of crowd.members) for (const member of list) member.kill();
});
