import { WireClient } from "../src/client/wire-client.ts";
import { crc32c } from "../src/protocol/crc32c.ts";
import { ErrorCode } from "../src/protocol/error-code.ts";
import { produceApi } from "../src/protocol/messages/00-produce.ts";
import { createTopicsApi } from "../src/protocol/messages/19-create-topics.ts";
import { initProducerIdApi } from "../src/protocol/messages/22-init-producer-id.ts";
import { addPartitionsToTxnApi } from "../src/protocol/messages/24-add-partitions-to-txn.ts";
import { endTxnApi } from "../src/protocol/messages/26-end-txn.ts";
import { buildBatch } from "../src/protocol/records.ts";
import { startBroker, until } from "../test/support/broker-process.ts";
import {
  ClassicMember,
  ConsumerMember,
  OwnershipLedger,
  type SimulatedGroup,
  type SimulatedMember,
} from "../test/support/group-members.ts";
import { cpuSecs, print, residentMib } from "./figures.ts";
import { main } from "./support.ts";

/**
 * What many groups cost, one JSON line a figure: memory and heartbeats of `--groups 500` with
 * `--members 2000` in all, beside `--transactions 1000` that are open, and how late the broker's
 * event loop is, at rest and while members come and go. A probe asks for ApiVersions every 5 ms on
 * a thread and a connection of its own: what its answers take is the loop's lag and more.
 * `--protocol classic` for the old protocol.
 */

const sessionTimeoutMs = 45_000;
const heartbeatMs = 5_000;
const partitionsPerGroup = 6;
/** Longer than any run: nobody but their producers ends the transactions. */
const transactionTimeoutMs = 900_000;
/** Producers that open or end their transactions at the same time. */
const producersAtOnce = 16;

/** Round trips of a small request, in ms, taken on a thread of its own. */
class Probe {
  private readonly worker = new Worker(new URL("./bench-groups-probe.ts", import.meta.url));

  start(port: number): void {
    this.worker.postMessage(port);
  }

  stop(): void {
    this.worker.postMessage("stop");
  }

  /** Since the last call. */
  async figures(): Promise<Record<string, number>> {
    const { promise, resolve } = Promise.withResolvers<readonly number[]>();
    this.worker.onmessage = ({ data }: MessageEvent<readonly number[]>) => resolve(data);
    this.worker.postMessage("figures");
    const sorted = (await promise).toSorted((left, right) => left - right);
    const at = (share: number): number => {
      const value = sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? 0;
      return Math.round(value * 100) / 100;
    };
    return { probes: sorted.length, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1) };
  }
}

/** One producer with one record in one transaction, which it leaves open. */
interface OpenTransaction {
  readonly transactionalId: string;
  readonly producerId: number;
  readonly producerEpoch: number;
}

function succeeded(what: string, errorCode: number | undefined): void {
  if (errorCode !== 0) throw new Error(`${what}: error ${errorCode}`);
}

/** The first ones find the coordinator's topic in the making, and ask again as clients do. */
async function initProducerId(client: WireClient, transactionalId: string) {
  const deadlineMs = performance.now() + 10_000;
  for (;;) {
    const request = { transactionalId, transactionTimeoutMs };
    const answer = await client.request(initProducerIdApi, 4, request);
    const isEarly = answer.errorCode === ErrorCode.COORDINATOR_NOT_AVAILABLE;
    if (!isEarly || performance.now() > deadlineMs) return answer;
    await Bun.sleep(20);
  }
}

async function openTransaction(client: WireClient, index: number): Promise<OpenTransaction> {
  const transactionalId = `transaction-${index}`;
  const { producerId, producerEpoch, errorCode } = await initProducerId(client, transactionalId);
  succeeded("InitProducerId", errorCode);
  const [name, partition] = [`topic-${index % 50}`, index % partitionsPerGroup];
  const added = await client.request(addPartitionsToTxnApi, 3, {
    v3AndBelowTransactionalId: transactionalId,
    v3AndBelowProducerId: producerId,
    v3AndBelowProducerEpoch: producerEpoch,
    v3AndBelowTopics: [{ name, partitions: [partition] }],
  });
  const addedTo = added.resultsByTopicV3AndBelow[0]?.resultsByPartition[0];
  succeeded("AddPartitionsToTxn", addedTo?.partitionErrorCode);
  const value = new Uint8Array(100);
  const records = buildBatch(
    [{ offsetDelta: 0, timestamp: Date.now(), key: null, value, headers: [] }],
    { isTransactional: true, producerId, producerEpoch, baseSequence: 0 },
    crc32c,
  );
  const { responses } = await client.request(produceApi, 9, {
    transactionalId,
    acks: -1,
    timeoutMs: 30_000,
    topicData: [{ name, partitionData: [{ index: partition, records }] }],
  });
  succeeded("Produce", responses[0]?.partitionResponses[0]?.errorCode);
  return { transactionalId, producerId, producerEpoch };
}

/** Runs the task for 0 to `count` − 1, on a few connections. */
async function overConnections<Result>(
  port: number,
  count: number,
  task: (client: WireClient, index: number) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  const work = Array.from({ length: Math.min(producersAtOnce, count) }, async () => {
    const client = await WireClient.connect({ host: "127.0.0.1", port, clientId: "producer" });
    while (next < count) results.push(await task(client, next++));
    client.close();
  });
  await Promise.all(work);
  return results;
}

async function commitAll(port: number, open: readonly OpenTransaction[]): Promise<void> {
  await overConnections(port, open.length, async (client, index) => {
    const one = open[index];
    if (one === undefined) return;
    const { errorCode } = await client.request(endTxnApi, 3, { ...one, committed: true });
    succeeded("EndTxn", errorCode);
  });
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
  probe.start(broker.kafkaPort);
  const startMs = performance.now();
  const crowd = await gather(broker.kafkaPort, groupCount, memberCount);
  await until("every partition has an owner", 120_000, () => isComplete(crowd), 100);
  const joinSecs = Math.round((performance.now() - startMs) / 100) / 10;
  print("joined", {
    groups: groupCount,
    members: memberCount,
    secs: joinSecs,
    ...(await probe.figures()),
  });

  const memoryOfGroups = residentMib(broker.pid);
  const openStartMs = performance.now();
  const count = Number(argument("transactions", "1000"));
  const transactions = await overConnections(broker.kafkaPort, count, openTransaction);
  print("transactions_open", {
    transactions: transactions.length,
    secs: Math.round((performance.now() - openStartMs) / 100) / 10,
    mib_more: residentMib(broker.pid) - memoryOfGroups,
    ...(await probe.figures()),
  });

  await Bun.sleep(5_000);
  await probe.figures();
  const before = cpuSecs(broker.pid);
  await Bun.sleep(secs * 1_000);
  const cpu = cpuSecs(broker.pid) - before;
  const figures = await probe.figures();
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
    kib_per_member: Math.round(((memoryOfGroups - memoryBefore) * 1_024) / memberCount),
  });
  const replaced = await churn(crowd, secs);
  print("members_come_and_go", { replaced, ...(await probe.figures()) });
  await commitAll(broker.kafkaPort, transactions);
  print("transactions_committed", {
    transactions: transactions.length,
    ...(await probe.figures()),
  });
  const violations = crowd.groups.flatMap(({ ledger }) => ledger.violations);
  print("violations", { count: violations.length });
  probe.stop();
  for (const list of crowd.members) for (const member of list) member.kill();
});
