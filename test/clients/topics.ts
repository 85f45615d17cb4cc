import { type ITopicConfig, Kafka, KafkaJSError, logLevel } from "kafkajs";
import { until } from "../support/broker-process.ts";

/** Preparing and asking a broker from inside the tests, through kafkajs. */

const readyMsMax = 30_000;

export function kafkaAt(bootstrap: string): Kafka {
  return new Kafka({
    clientId: "chronik-tests",
    brokers: bootstrap.split(","),
    logLevel: logLevel.NOTHING,
  });
}

export async function withAdmin<T>(
  bootstrap: string,
  use: (admin: ReturnType<Kafka["admin"]>) => Promise<T>,
): Promise<T> {
  const admin = kafkaAt(bootstrap).admin();
  await admin.connect();
  try {
    return await use(admin);
  } finally {
    await admin.disconnect();
  }
}

/**
 * Repeats what a broker may refuse for a moment, with an error that asks for a retry: a leader
 * or coordinator that is still loading.
 */
export async function untilServed<T>(what: string, ask: () => Promise<T>): Promise<T> {
  const answers: T[] = [];
  await until(
    `${what} is served`,
    readyMsMax,
    async () => {
      try {
        answers.push(await ask());
        return true;
      } catch (error) {
        if (error instanceof KafkaJSError && error.retriable) return false;
        throw error;
      }
    },
    50,
  );
  return answers[0] as T;
}

/**
 * Creates topics that keep everything, and waits until every partition's leader answers: a
 * new topic is listed a moment before its leader takes records.
 */
export async function createTopics(
  bootstrap: string,
  names: readonly string[],
  numPartitions: number,
): Promise<void> {
  const topics: ITopicConfig[] = names.map((topic) => ({
    topic,
    numPartitions,
    replicationFactor: 1,
    configEntries: [{ name: "retention.ms", value: "-1" }],
  }));
  await withAdmin(bootstrap, async (admin) => {
    await admin.createTopics({ topics, waitForLeaders: true });
    for (const name of names) {
      await untilServed(`ListOffsets of ${name}`, () => admin.fetchTopicOffsets(name));
    }
  });
}
