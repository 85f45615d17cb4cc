/** The port is bound before the logs are recovered: what comes meanwhile waits. */
import { expect, test } from "bun:test";
import { ErrorCode } from "../../src/protocol/error-code.ts";
import { listOffsetsApi } from "../../src/protocol/messages/02-list-offsets.ts";
import { type BrokerProcess, startBroker, until } from "../support/broker-process.ts";
import { Kafka } from "./kafka.ts";

/** So many that their recovery takes longer than a connection does. */
const partitions = 1_000;
const attemptsMax = 20;
const latest = -1;

async function brokerWithRecords(): Promise<BrokerProcess> {
  const broker = await startBroker();
  const kafka = await Kafka.connect(broker.kafkaPort);
  await kafka.createTopic("many", partitions);
  for (const index of [0, 500, 999]) await kafka.append("many", index, ["a", "b", "c"]);
  kafka.close();
  await broker.kill9();
  return broker;
}

async function isReady(broker: BrokerProcess): Promise<boolean> {
  try {
    const { status } = await fetch(`${broker.adminUrl}/readyz`);
    return status === 200;
  } catch {
    return false; // not listening yet
  }
}

/** The first connection that the broker under way takes. */
async function firstConnection(broker: BrokerProcess): Promise<Kafka> {
  let kafka: Kafka | null = null;
  await until("the Kafka port is open", 30_000, async () => {
    kafka = await Kafka.connect(broker.kafkaPort).catch(() => null);
    return kafka !== null;
  });
  if (kafka === null) throw new Error("no connection");
  return kafka;
}

function ends(kafka: Kafka) {
  return kafka.client.request(listOffsetsApi, 7, {
    replicaId: -1,
    isolationLevel: 0,
    topics: [
      {
        name: "many",
        partitions: [0, 500, 999].map((partitionIndex) => ({ partitionIndex, timestamp: latest })),
      },
    ],
  });
}

/** Starts until a request was sent while the broker was not ready; resolves with what comes. */
async function askWhileStarting<Result>(
  broker: BrokerProcess,
  then: (kafka: Kafka, answer: ReturnType<typeof ends>) => Promise<Result>,
): Promise<Result> {
  for (let attempt = 1; attempt <= attemptsMax; attempt++) {
    broker.spawn();
    const kafka = await firstConnection(broker);
    const answer = ends(kafka);
    const outcome = answer.then(
      () => "answered",
      () => "closed",
    );
    await kafka.client.flushed();
    if (!(await isReady(broker))) return await then(kafka, answer);
    await outcome;
    kafka.close();
    await broker.kill9();
  }
  throw new Error(`the broker was ready at once, ${attemptsMax} times`);
}

test("a request sent during recovery is answered when all is recovered", async () => {
  await using broker = await brokerWithRecords();
  const { topics } = await askWhileStarting(broker, (_kafka, answer) => answer);
  const found = topics[0]?.partitions.map(({ errorCode, offset }) => [errorCode, offset]);
  expect(found).toEqual(Array(3).fill([ErrorCode.NONE, 3]));
  await until("the broker says so, too", 30_000, () => isReady(broker));
});

test("a client that hangs up during recovery is none of the broker's business", async () => {
  await using broker = await brokerWithRecords();
  await askWhileStarting(broker, async (kafka, answer) => {
    kafka.close();
    await answer.catch(() => undefined);
  });
  await until("the broker is ready", 30_000, () => isReady(broker));
  const kafka = await Kafka.connect(broker.kafkaPort);
  const { topics } = await ends(kafka);
  expect(topics[0]?.partitions.map(({ offset }) => offset).sort()).toEqual([3, 3, 3]);
  expect(await broker.stop()).toBe(0);
});

test("SIGTERM during recovery ends in good order, and so does whoever waits", async () => {
  await using broker = await brokerWithRecords();
  const outcome = await askWhileStarting(broker, async (_kafka, answer) => {
    const [code, settled] = await Promise.all([broker.stop(), Promise.allSettled([answer])]);
    return { code, kind: settled[0]?.status };
  });
  expect(outcome.code).toBe(0);
  expect(["fulfilled", "rejected"]).toContain(outcome.kind ?? "");
  const before = broker.log().split("the last stop was not clean").length;
  await broker.restart();
  expect(broker.log().split("the last stop was not clean")).toHaveLength(before);
});

test("a start that fails behind the recovery serves nobody, and ends by itself", async () => {
  await using broker = await brokerWithRecords();
  const other = Bun.listen({
    hostname: "127.0.0.1",
    port: broker.adminPort,
    socket: { data: (socket) => socket.terminate() },
  });
  try {
    const outcome = await askWhileStarting(broker, (_kafka, answer) =>
      answer.then(
        () => "served",
        () => "closed",
      ),
    );
    expect(outcome).toBe("closed");
    expect(await broker.exited()).toBe(3);
  } finally {
    other.stop(true);
  }
  expect(broker.log()).toContain("CHRONIK_PORT_IN_USE");
});
