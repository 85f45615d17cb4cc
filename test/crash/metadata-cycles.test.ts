/** Topics, configurations and committed offsets under kill -9: what was answered holds, what was
 * deleted stays away, what was under way is done whole or not at all. */
import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Kafka } from "../broker/kafka.ts";
import { busyTierArgs, untilAllArchived } from "../support/archives.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { unannouncedMoment } from "../support/moments.ts";
import { Random } from "../support/random.ts";

const cycles = Math.ceil(Number(process.env["CHRONIK_CRASH_CYCLES"] ?? 30) / 3);
const workers = 4;

type Expected = "present" | "absent" | "unknown";

/** Creates topics with a record each and deletes every other one, until the connection is lost. */
class TopicWorker {
  readonly topics = new Map<string, Expected>();
  /** Topics whose one record was acknowledged. */
  readonly written = new Set<string>();
  private made = 0;
  private readonly id: number;

  constructor(id: number) {
    this.id = id;
  }

  async work(kafka: Kafka): Promise<void> {
    for (;;) {
      const name = `topic-${this.id}-${this.made++}`;
      this.topics.set(name, "unknown");
      await kafka.createTopic(name, 2, { "retention.ms": "123456789" });
      this.topics.set(name, "present");
      await kafka.append(name, 1, [`record of ${name}`]);
      this.written.add(name);
      if (this.made % 2 === 0) continue;
      this.topics.set(name, "unknown");
      await kafka.deleteTopic(name);
      this.topics.set(name, "absent");
    }
  }
}

/** Commits 1, 2, 3, … for a group of its own. */
class CommitWorker {
  acked = 0;
  asked = 0;
  readonly group: string;

  constructor(id: number) {
    this.group = `group-${id}`;
  }

  async work(kafka: Kafka): Promise<void> {
    for (;;) {
      this.asked = this.acked + 1;
      await kafka.commit(this.group, "offsets", this.asked);
      this.acked = this.asked;
    }
  }
}

test(
  "what was answered about topics and offsets holds over kills",
  async () => {
    const random = Random.from("CHRONIK_CRASH_SEED");
    await using broker = await startBroker({ args: busyTierArgs });
    const setup = await Kafka.connect(broker.kafkaPort);
    await setup.createTopic("offsets");
    const topicWorkers = Array.from({ length: workers }, (_, id) => new TopicWorker(id));
    const commitWorkers = Array.from({ length: workers }, (_, id) => new CommitWorker(id));
    for (let cycle = 0; cycle < cycles; cycle++) {
      const running = [...topicWorkers, ...commitWorkers].map((worker) => runOn(broker, worker));
      await unannouncedMoment(random, 50, 700);
      await broker.kill9();
      await Promise.all(running);
      await broker.restart();
      const kafka = await Kafka.connect(broker.kafkaPort);
      for (const worker of topicWorkers) await checkTopics(kafka, worker);
      for (const worker of commitWorkers) await checkCommits(kafka, worker);
      kafka.close();
    }
    const kafka = await Kafka.connect(broker.kafkaPort);
    await untilAllArchived(broker);
    for (const worker of topicWorkers) await checkTopics(kafka, worker);
    const all = topicWorkers.flatMap(({ topics }) => [...topics]);
    const absent = all.filter(([, state]) => state === "absent").map(([name]) => name);
    await until("nothing is left of deleted topics", 20_000, () =>
      absent.every((name) => !existsSync(join(broker.dataDir, "wal", name))),
    );
    await until("the trash is empty", 20_000, () => {
      return readdirSync(join(broker.dataDir, "trash")).length === 0;
    });
    console.log(
      `${cycles} kills, ${all.length} topics created, ${absent.length} deleted, ` +
        `${commitWorkers.reduce((sum, { acked }) => sum + acked, 0)} commits`,
    );
    expect(absent.length).toBeGreaterThan(cycles);
    expect(broker.log()).not.toMatch(/quarantine|bug|please report/);
  },
  60_000 + cycles * 10_000,
);

/** Until the broker is killed; any other end of the work is a failure. */
async function runOn(
  broker: BrokerProcess,
  worker: { work(kafka: Kafka): Promise<void> },
): Promise<void> {
  const kafka = await Kafka.connect(broker.kafkaPort);
  try {
    await worker.work(kafka);
  } catch (error) {
    if (!`${error}`.includes("connection")) throw error;
  } finally {
    kafka.close();
  }
}

async function checkTopics(kafka: Kafka, worker: TopicWorker): Promise<void> {
  for (const [name, expected] of worker.topics) {
    const { errorCode } = await kafka.fetchAt(name, 1, 0);
    if (expected === "unknown") {
      worker.topics.set(name, errorCode === 0 ? "present" : "absent");
      if (errorCode !== 0) continue;
    }
    expect({ name, isThere: errorCode === 0 }).toEqual({ name, isThere: expected !== "absent" });
    if (errorCode !== 0 || !worker.written.has(name)) continue;
    expect(await kafka.values(name, 1)).toEqual([`record of ${name}`]);
  }
}

async function checkCommits(kafka: Kafka, worker: CommitWorker): Promise<void> {
  if (worker.asked === 0) return;
  const found = await kafka.committed(worker.group, "offsets");
  const wanted = worker.acked === 0 ? -1 : worker.acked;
  expect([wanted, worker.asked]).toContain(found);
  worker.acked = Math.max(found, 0);
}
