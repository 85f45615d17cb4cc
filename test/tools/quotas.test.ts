/** Client quotas, set with Kafka's own tool and met by Kafka's own clients. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { ensureToolchain } from "../clients/setup.ts";
import { createTopics } from "../clients/topics.ts";
import { type BrokerProcess, brokerExists, startBroker } from "../support/broker-process.ts";
import { startToolServer, type Tool, type ToolServer } from "./tool-server.ts";

const setup = await ensureToolchain("java");
const reason = !brokerExists
  ? "dist/chronik is not built"
  : setup.status === "skipped"
    ? setup.reason
    : null;
const isCi = process.env["CI"] === "true";
const testMsMax = 60_000;
/** Two windows of a second: little is saved up. */
const args = ["-X", "quota.window.num=2"];
const bytesPerSecond = 200_000;
const recordBytes = 500;

let broker: BrokerProcess;
let server: ToolServer;

async function output(name: Tool, ...words: string[]): Promise<string> {
  const all = ["--bootstrap-server", broker.bootstrap, ...words];
  const result = await server.run(name, all);
  expect(result).toMatchObject({ exit: 0 });
  return result.stdout;
}

/** The last value of a client's metric among what `--print-metrics` shows. */
function metric(text: string, name: string): number {
  const values = [...text.matchAll(new RegExp(`${name}:\\S*\\s*:?\\s*([\\d.]+)`, "g"))];
  return Math.max(-1, ...values.map(([, value]) => Number(value)));
}

const suite = describe.skipIf(reason !== null && !isCi);
suite(`client quotas${reason === null ? "" : ` (skipped: ${reason})`}`, () => {
  beforeAll(async () => {
    expect(reason).toBeNull();
    broker = await startBroker({ args });
    server = await startToolServer();
  }, testMsMax);
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await broker?.[Symbol.asyncDispose]();
  });

  test(
    "kafka-configs sets, shows and removes them; they outlive kill -9",
    async () => {
      const entities = [
        ["--entity-type", "clients", "--entity-name", "c"],
        ["--entity-type", "users", "--entity-name", "u"],
        ["--entity-type", "users", "--entity-default"],
        ["--entity-type", "users", "--entity-name", "u", "--entity-type", "clients"].concat([
          "--entity-default",
        ]),
      ];
      for (const entity of entities) {
        const config = ["--add-config", "producer_byte_rate=1024,request_percentage=50"];
        await output("configs", ...entity, "--alter", ...config);
      }
      const ip = ["--entity-type", "ips", "--entity-name", "10.0.0.1"];
      await output("configs", ...ip, "--alter", "--add-config", "connection_creation_rate=7");
      await broker.kill9();
      await broker.restart();
      for (const entity of entities) {
        const text = await output("configs", ...entity, "--describe");
        expect(text).toContain("producer_byte_rate=1024.0");
        expect(text).toContain("request_percentage=50.0");
      }
      expect(await output("configs", ...ip, "--describe")).toContain(
        "connection_creation_rate=7.0",
      );
      for (const entity of entities) {
        const config = ["--delete-config", "producer_byte_rate,request_percentage"];
        await output("configs", ...entity, "--alter", ...config);
        expect(await output("configs", ...entity, "--describe")).not.toContain("byte_rate");
      }
    },
    testMsMax,
  );

  test(
    "a Java producer and a consumer keep to theirs, others do not notice",
    async () => {
      await createTopics(broker.bootstrap, ["limited"], 1);
      const limited = ["--entity-type", "clients", "--entity-name", "limited"];
      const rates = `producer_byte_rate=${bytesPerSecond},consumer_byte_rate=${bytesPerSecond}`;
      await output("configs", ...limited, "--alter", "--add-config", rates);
      const records = 1_800;
      const produce = (clientId: string) =>
        output(
          "producer-perf-test",
          ...["--topic", "limited", "--num-records", String(records)],
          ...["--record-size", String(recordBytes), "--throughput", "-1", "--print-metrics"],
          ...["--command-property", `client.id=${clientId}`, "batch.size=16000", "acks=all"],
        );
      const slow = await produce("limited");
      const perSecond = Number(/records sent, ([\d.]+) records\/sec/.exec(slow)?.[1]);
      const seconds = records / perSecond;
      // Two windows at once, what is in flight, and what a border of windows lets through.
      const allowed = 1.5 * bytesPerSecond * (seconds + 2) + 5 * 16_000;
      expect(records * recordBytes).toBeLessThanOrEqual(allowed);
      expect(metric(slow, "produce-throttle-time-max")).toBeGreaterThan(0);
      const free = await produce("free");
      expect(metric(free, "produce-throttle-time-max")).toBe(0);
      const read = await output(
        "consumer-perf-test",
        ...["--topic", "limited", "--num-records", String(2 * records), "--timeout", "40000"],
        ...["--command-property", "client.id=limited", "--print-metrics"],
      );
      const [head, row] = read.split("\n").filter((line) => line.includes(", "));
      const column = head?.split(", ").indexOf("data.consumed.in.nMsg") ?? -1;
      expect(Number(row?.split(", ")[column])).toBe(2 * records);
      expect(metric(read, "fetch-throttle-time-max")).toBeGreaterThan(0);
    },
    testMsMax,
  );
});
