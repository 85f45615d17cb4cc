import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { WireClient } from "../../src/client/wire-client.ts";
import { describeTransactionsApi } from "../../src/protocol/messages/65-describe-transactions.ts";
import {
  type BrokerProcess,
  brokerExists,
  startBroker,
  until,
  withoutRebalanceDelay,
} from "../support/broker-process.ts";
import { ensureToolchain, javaClassPath, javaLogConfig, pythonBin } from "./setup.ts";
import { createTopics } from "./topics.ts";

/**
 * Transactions by unmodified clients: commits and aborts, a second producer of the same id,
 * consume-transform-produce with an aborted round. Java speaks transaction version 2 (Produce v12
 * and later), librdkafka version 1 (AddPartitionsToTxn, EndTxn v1).
 */

const isCi = process.env["CI"] === "true";
const testMsMax = 120_000;
const programs = [
  {
    name: "java",
    toolchain: "java",
    command: ["java", "-Xmx256m", `-Dlog4j2.configurationFile=${javaLogConfig}`, "-cp"].concat([
      javaClassPath,
      "Transactions",
      "run",
    ]),
  },
  {
    name: "confluent-kafka",
    toolchain: "python",
    command: [pythonBin, join(import.meta.dir, "python/confluent_transactions.py")],
  },
] as const;

describe.skipIf(!brokerExists && !isCi)("transactions", () => {
  let broker: BrokerProcess;
  beforeAll(async () => {
    const interval = "transaction.abort.timed.out.transaction.cleanup.interval.ms=200";
    broker = await startBroker({ args: [...withoutRebalanceDelay, "-X", interval] });
  });
  afterAll(async () => await broker[Symbol.asyncDispose]());

  for (const { name, toolchain, command } of programs) {
    test(
      name,
      async () => {
        const setup = await ensureToolchain(toolchain);
        if (setup.status !== "ready" && !isCi) return;
        expect(setup).toEqual({ status: "ready" });
        const topic = `txn-${name}`;
        await createTopics(broker.bootstrap, [topic], 3);
        await createTopics(broker.bootstrap, [`${topic}-out`], 1);
        const args = ["--bootstrap", broker.bootstrap, "--topic", topic];
        const told = await run([...command, ...args]);
        expect(told).toMatchObject({
          committed: 30,
          uncommitted: 60,
          fenced: true,
          moved: 30,
          out: 30,
        });
        if (name === "java") await untilAborted(broker, `java-slow-${topic}`);
      },
      testMsMax,
    );
  }
});

/** The program left a transaction open whose timeout is a second. */
async function untilAborted(broker: BrokerProcess, id: string): Promise<void> {
  const client = await WireClient.open({
    host: "127.0.0.1",
    port: broker.kafkaPort,
    clientId: "look",
  });
  await until("the open transaction is aborted", 20_000, async () => {
    const answer = await client.request(describeTransactionsApi, 0, { transactionalIds: [id] });
    return answer.transactionStates[0]?.transactionState === "CompleteAbort";
  });
  client.close();
}

async function run(command: readonly string[]): Promise<unknown> {
  const child = Bun.spawn([...command], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const killer = setTimeout(() => child.kill("SIGKILL"), testMsMax - 10_000);
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  clearTimeout(killer);
  const line = stdout.split("\n").find((text) => text.startsWith("{"));
  if (line === undefined) throw new Error(`${command[0]} told nothing: ${stderr.slice(-2000)}`);
  return JSON.parse(line);
}
