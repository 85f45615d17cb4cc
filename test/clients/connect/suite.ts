import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until, withoutRebalanceDelay } from "../../support/broker-process.ts";
import { startPeerKafka } from "../../support/peer-kafka.ts";
import { prepareJvm } from "../jvm/prepare.ts";
import type { RunTest, Suite, SuiteContext } from "../suite.ts";
import { createTopics, kafkaAt, withAdmin } from "../topics.ts";
import { startConnect, startMirror } from "./workers.ts";

/**
 * Kafka Connect, distributed, with a file source under exactly-once and a file sink: what is in
 * the one file comes out in the other, once, over kills of the worker and of the broker. And
 * MirrorMaker 2 both ways between chronik and Apache Kafka: records, and offsets of groups.
 */

const flowMsMax = 120_000;
const connectTest = "Connect: file source (exactly once) to file sink, worker and broker killed";
const mirrorTests = {
  there: "MirrorMaker 2: records from chronik to Apache Kafka",
  back: "MirrorMaker 2: records from Apache Kafka to chronik",
  offsets: "MirrorMaker 2: a group's offsets arrive on the other side",
};

async function outcome(name: string, run: () => Promise<void>): Promise<RunTest> {
  try {
    await run();
    return { name, outcome: "passed" };
  } catch (error) {
    const detail = error instanceof Error ? `${error.message}\n${error.stack}` : String(error);
    return { name, outcome: "failed", detail };
  }
}

const textOf = (path: string) => (existsSync(path) ? readFileSync(path, "utf8") : "");
const linesOf = (path: string) => textOf(path).split("\n").filter(Boolean);

async function fileToFile({ broker, bootstrap, scratchDir }: SuiteContext): Promise<void> {
  const [source, sink] = [join(scratchDir, "source.txt"), join(scratchDir, "sink.txt")];
  const wanted: string[] = [];
  const write = (count: number) => {
    const lines = Array.from({ length: count }, (_, at) => `line ${wanted.length + at}`);
    wanted.push(...lines);
    appendFileSync(source, `${lines.join("\n")}\n`);
  };
  writeFileSync(source, "");
  await using worker = await startConnect(bootstrap, scratchDir, "connect-eo");
  const filePackage = "org.apache.kafka.connect.file";
  await worker.connector("from-file", {
    "connector.class": `${filePackage}.FileStreamSourceConnector`,
    "tasks.max": "1",
    file: source,
    topic: "connect-lines",
    "exactly.once.support": "requested",
    "transaction.boundary": "poll",
  });
  await worker.connector("to-file", {
    "connector.class": `${filePackage}.FileStreamSinkConnector`,
    "tasks.max": "1",
    file: sink,
    topics: "connect-lines",
    "consumer.override.isolation.level": "read_committed",
  });
  const flown = () =>
    until(`${wanted.length} lines flowed`, flowMsMax, () => {
      return new Set(linesOf(sink)).size === wanted.length;
    });
  write(500);
  await flown();
  await broker.kill9();
  await broker.restart();
  write(500);
  await flown();
  await worker.restart();
  write(500);
  await flown();
  // The sink delivers at least once; the topic is what has to hold each line once, in order.
  const inTopic = await readAll(bootstrap, "connect-lines", wanted.length);
  if (inTopic.join("\n") !== wanted.join("\n"))
    throw new Error(`the topic holds ${inTopic.length} lines that are not the ${wanted.length}`);
}

/** Values of a topic of one partition, up to its end. */
async function readAll(bootstrap: string, topic: string, count: number): Promise<string[]> {
  const consumer = kafkaAt(bootstrap).consumer({ groupId: `reader-${crypto.randomUUID()}` });
  const values: string[] = [];
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ message }) => void values.push(message.value?.toString() ?? ""),
    });
    await until(`${count} records of ${topic}`, flowMsMax, () => values.length >= count);
  } finally {
    await consumer.disconnect();
  }
  return values;
}

async function produce(bootstrap: string, topic: string, values: readonly string[]) {
  const producer = kafkaAt(bootstrap).producer();
  await producer.connect();
  await producer.send({ topic, messages: values.map((value) => ({ value })) });
  await producer.disconnect();
}

async function arrives(to: string, topic: string, wanted: readonly string[]): Promise<void> {
  await until(`${topic} is mirrored`, flowMsMax, async () => {
    return await withAdmin(to, async (admin) => (await admin.listTopics()).includes(topic));
  });
  const got = await readAll(to, topic, wanted.length);
  if (got.join() !== wanted.join()) throw new Error(`${topic} holds ${got.length} records`);
}

async function mirror({ bootstrap, scratchDir }: SuiteContext): Promise<RunTest[]> {
  await using kafka = await startPeerKafka({ heapMb: 512 });
  const values = (name: string) => Array.from({ length: 300 }, (_, at) => `${name} ${at}`);
  const [here, there] = [values("here"), values("there")];
  await createTopics(bootstrap, ["mirrored-here"], 1);
  await createTopics(kafka.bootstrap, ["mirrored-there"], 1);
  await produce(bootstrap, "mirrored-here", here);
  await produce(kafka.bootstrap, "mirrored-there", there);
  const partitions = [{ partition: 0, offset: "200" }];
  await withAdmin(bootstrap, (admin) =>
    admin.setOffsets({ groupId: "mirrored-group", topic: "mirrored-here", partitions }),
  );
  await using worker = await startMirror(bootstrap, kafka.bootstrap, scratchDir);
  const results = [
    await outcome(mirrorTests.there, () => arrives(kafka.bootstrap, "a.mirrored-here", here)),
    await outcome(mirrorTests.back, () => arrives(bootstrap, "b.mirrored-there", there)),
    await outcome(mirrorTests.offsets, () => offsetsArrive(kafka.bootstrap)),
  ];
  const log = await worker.log();
  return results.map((result) =>
    result.outcome === "passed" ? result : { ...result, detail: `${result.detail}\n${log}` },
  );
}

/** Translated offsets may lag behind the group's, never run ahead of it. */
async function offsetsArrive(to: string): Promise<void> {
  await until("the group's offset is translated", flowMsMax, async () => {
    const [topic] = await withAdmin(to, (admin) =>
      admin.fetchOffsets({ groupId: "mirrored-group", topics: ["a.mirrored-here"] }),
    );
    const offset = Number(topic?.partitions[0]?.offset ?? -1);
    if (offset > 200) throw new Error(`the translated offset is ${offset}, past the group's 200`);
    return offset > 0;
  });
}

export const connect: Suite = {
  name: "connect",
  client: "connect-runtime",
  version: "4.3.1",
  kind: "program",
  about: "Connect distributed with file source and sink; MirrorMaker 2 to and from Apache Kafka",
  exclusions: [],
  brokerArgs: withoutRebalanceDelay,
  featureOf: () => "connect",
  prepare: () => prepareJvm({ name: "connect" }),
  async run(context) {
    const connected = await outcome(connectTest, () => fileToFile(context));
    return context.scope === "short" ? [connected] : [connected, ...(await mirror(context))];
  },
};
