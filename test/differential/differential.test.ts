import { beforeAll, describe, expect, test } from "bun:test";
import { missingPrograms } from "../clients/setup.ts";
import { brokerExists, startBroker, withoutRebalanceDelay } from "../support/broker-process.ts";
import { startPeerKafka } from "../support/peer-kafka.ts";
import { accepted } from "./accepted.ts";
import { askBoth, everyCase } from "./ask.ts";
import { judge, type Verdict } from "./differences.ts";

/**
 * The short form of `run.ts`: every case of meaning and the newest version of every API, asked of
 * the compiled broker and of Apache Kafka itself.
 */

const isCi = process.env["CI"] === "true";
const reason = brokerExists ? missingPrograms(["java", "javac", "mvn"]) : "no compiled broker";
const answersMin = 3_000;
/** Kafka is fetched from its registry on the first run. */
const setupMsMax = 600_000;

/** As many partitions as `startPeerKafka` gives its own topics. */
const likeThePeer = ["offsets.topic.num.partitions=8", "transaction.state.log.num.partitions=8"];

async function compare(): Promise<Verdict> {
  await using kafka = await startPeerKafka();
  await using chronik = await startBroker({
    args: [...withoutRebalanceDelay, ...likeThePeer.flatMap((setting) => ["-X", setting])],
  });
  const kafkaPort = Number(kafka.bootstrap.split(":")[1]);
  const cases = await everyCase(kafkaPort, chronik.kafkaPort, "short");
  const answers = await askBoth(kafkaPort, chronik.kafkaPort, cases);
  return judge(answers.kafka, answers.chronik, accepted, "some");
}

/**
 * Some of Kafka's answers depend on how fast it is, and this machine may be slow: what differs
 * only once in two runs, each with fresh brokers, is told but is no failure.
 */
async function compareTwice(): Promise<Verdict> {
  const first = await compare();
  if (first.unexplained.length + first.dead.length === 0) return first;
  console.log(`once: ${inWords(first)}`);
  const second = await compare();
  console.log(`twice: ${inWords(second)}`);
  const labels = new Set(first.unexplained.map(({ label }) => label));
  return {
    ...second,
    unexplained: second.unexplained.filter(({ label }) => labels.has(label)),
    dead: second.dead.filter((words) => first.dead.includes(words)),
  };
}

function inWords({ unexplained, dead }: Verdict): string {
  return JSON.stringify({ unexplained, dead }, null, 1);
}

describe.skipIf(reason !== null && !isCi)("the same bytes to Apache Kafka and to chronik", () => {
  let verdict: Verdict;

  beforeAll(async () => {
    if (reason !== null) throw new Error(reason);
    verdict = await compareTwice();
  }, setupMsMax);

  test("every difference is one that is meant", () => {
    expect(verdict.unexplained).toEqual([]);
    expect(verdict.answers).toBeGreaterThanOrEqual(answersMin);
  });

  test("every explanation explains a difference", () => {
    expect(verdict.dead).toEqual([]);
    expect(verdict.intended).toBeGreaterThan(0);
  });
});
