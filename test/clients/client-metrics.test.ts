import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { WireClient } from "../../src/client/wire-client.ts";
import { incrementalAlterConfigsApi } from "../../src/protocol/messages/44-incremental-alter-configs.ts";
import {
  type BrokerProcess,
  brokerExists,
  startBroker,
  until,
  withoutRebalanceDelay,
} from "../support/broker-process.ts";
import { partitionCount } from "./data.ts";
import { startMember } from "./members.ts";
import { type ClientProgram, clients, ensureToolchains } from "./programs.ts";
import { createTopics, kafkaAt } from "./topics.ts";

/** Client metrics (KIP-714): clients that push by themselves do so, and it stands on /metrics. */

const records = 200;
const settleMsMax = 60_000;
const testMsMax = 120_000;
const isCi = process.env["CI"] === "true";
const pushing = clients.filter(({ name }) => name === "java" || name === "confluent-kafka");
const setups = brokerExists ? await ensureToolchains(pushing) : new Map();

function skipReason({ toolchain }: ClientProgram): string | null {
  if (!brokerExists) return "dist/chronik is not built";
  const setup = setups.get(toolchain);
  return setup?.status === "skipped" ? setup.reason : null;
}

let broker: BrokerProcess;

beforeAll(async () => {
  if (!brokerExists) return;
  broker = await startBroker({ args: ["-X", "telemetry.enabled=true", ...withoutRebalanceDelay] });
  const client = await WireClient.connect({
    host: "127.0.0.1",
    port: broker.kafkaPort,
    clientId: "operator",
  });
  const configs = Object.entries({ metrics: "*", "interval.ms": "100" }).map(([name, value]) => ({
    ...{ name, value },
    configOperation: 0,
  }));
  const resources = [{ resourceType: 16, resourceName: "everything", configs }];
  const { responses } = await client.request(incrementalAlterConfigsApi, 1, {
    resources,
    validateOnly: false,
  });
  expect(responses[0]?.errorCode).toBe(0);
  client.close();
}, 60_000);

afterAll(async () => await broker?.[Symbol.asyncDispose]());

/** Series of clients of one software, by name, with their values. */
async function seriesOf(software: RegExp): Promise<Map<string, number[]>> {
  const text = await (await fetch(`${broker.adminUrl}/metrics`)).text();
  const lines = text.split("\n").filter((line) => line.startsWith("chronik_client_"));
  const ids = lines
    .filter((line) => line.startsWith("chronik_client_info{") && software.test(line))
    .map((line) => /client_instance_id="([^"]+)"/.exec(line)?.[1] ?? "");
  const found = new Map<string, number[]>();
  for (const line of lines) {
    const [, name = "", id = "", value] =
      /^(\w+)\{.*client_instance_id="([^"]+)".*\} (\S+)$/.exec(line) ?? [];
    if (!ids.includes(id)) continue;
    found.set(name, [...(found.get(name) ?? []), Number(value)]);
  }
  return found;
}

const sum = (values: readonly number[] = []) => values.reduce((left, right) => left + right, 0);

interface Expected {
  readonly software: RegExp;
  /** All values under a name together. */
  readonly series: Readonly<Record<string, number>>;
}

const assigned = { chronik_client_consumer_coordinator_assigned_partitions: partitionCount };
const expected: Readonly<Record<string, Expected>> = {
  java: {
    software: /client_software_name="apache-kafka-java"/,
    // Of all topics and of this one; told as the growth since the last push, and under other
    // labels once the member has its id.
    series: {
      ...assigned,
      chronik_client_consumer_fetch_manager_records_consumed_total: 2 * records,
    },
  },
  // librdkafka counts no records.
  "confluent-kafka": {
    software: /client_software_name="confluent-kafka-python"/,
    series: assigned,
  },
};

describe("members of groups push their metrics", () => {
  for (const program of pushing) {
    const { software, series } = expected[program.name] ?? { software: /^$/, series: {} };
    const reason = skipReason(program);
    const work = async () => {
      const { bootstrap } = broker;
      const topic = `metrics-${program.name}`;
      await createTopics(bootstrap, [topic], partitionCount);
      const ids = { topic, group: topic, id: "member", sessionTimeoutMs: 10_000 };
      await using member = startMember(program, { bootstrap, ...ids, assignor: "range" });
      const producer = kafkaAt(bootstrap).producer();
      await producer.connect();
      for (let half = 0; half < 2; half++) {
        const messages = Array.from({ length: records / 2 }, () => ({ value: "v" }));
        await producer.send({ topic, messages });
      }
      await producer.disconnect();
      const wanted = Object.entries(series);
      let found = new Map<string, number[]>();
      const isTold = async () => {
        found = await seriesOf(software);
        return wanted.every(([name, value]) => sum(found.get(name)) === value);
      };
      await until("the member's metrics", settleMsMax, isTold, 100).catch(() => undefined);
      const told = wanted.map(([name]) => [name, sum(found.get(name))]);
      expect(told, member.describe()).toEqual(wanted);
      expect(found.size).toBeGreaterThan(10);
      expect(broker.log()).not.toContain("cannot be read");
      // Its last push takes the partitions back, and is still there when it is gone.
      expect(await member.leave()).toBe(0);
      expect((await seriesOf(software)).get("chronik_client_info")).toEqual([1]);
    };
    if (reason === null) test(program.name, work, testMsMax);
    else
      test.skipIf(!isCi)(`${program.name} (skipped: ${reason})`, () => expect(reason).toBeNull());
  }
});
