/** Pushes of client metrics (KIP-714) to a whole broker: every codec, bombs, and none wanted. */
import { expect, test } from "bun:test";
import { WireClient } from "../../src/client/wire-client.ts";
import { errorName } from "../../src/protocol/error-code.ts";
import { apiVersionsApi } from "../../src/protocol/messages/18-api-versions.ts";
import { incrementalAlterConfigsApi } from "../../src/protocol/messages/44-incremental-alter-configs.ts";
import { getTelemetrySubscriptionsApi } from "../../src/protocol/messages/71-get-telemetry-subscriptions.ts";
import { pushTelemetryApi } from "../../src/protocol/messages/72-push-telemetry.ts";
import { zeroUuid } from "../../src/protocol/uuid.ts";
import { gauge, payload, point, sum } from "../client-metrics/otlp-writer.ts";
import { type BrokerProcess, startBroker } from "../support/broker-process.ts";
import { bombs, codecs } from "./compress.ts";

const MiB = 1 << 20;

async function connect(broker: BrokerProcess): Promise<WireClient> {
  const options = { host: "127.0.0.1", port: broker.kafkaPort, clientId: "pusher" };
  return await WireClient.connect(options);
}

async function advertised(client: WireClient): Promise<number[]> {
  const { apiKeys } = await client.request(apiVersionsApi, 0, {});
  return apiKeys.map(({ apiKey }) => apiKey).filter((key) => key === 71 || key === 72);
}

/** As a client of its own: asks and pushes once; the error's name. */
async function push(client: WireClient, codec: number, metrics: Uint8Array): Promise<string> {
  const { clientInstanceId, subscriptionId } = await client.request(
    getTelemetrySubscriptionsApi,
    0,
    { clientInstanceId: zeroUuid },
  );
  const { errorCode } = await client.request(pushTelemetryApi, 0, {
    ...{ clientInstanceId, subscriptionId, metrics },
    terminating: false,
    compressionType: codec,
  });
  return errorName(errorCode);
}

async function metricsOf(broker: BrokerProcess): Promise<string[]> {
  return (await (await fetch(`${broker.adminUrl}/metrics`)).text()).split("\n");
}

test("every codec is read, bombs and noise are INVALID_RECORD, and the rest goes on", async () => {
  await using broker = await startBroker({ args: ["-X", "telemetry.enabled=true"] });
  const client = await connect(broker);
  expect(await advertised(client)).toEqual([71, 72]);
  const body = payload([gauge("level", [point(7)]), sum("sent", [point(5n, [["topic", "t"]])])]);
  for (const [codec, compress] of codecs.entries()) {
    expect([codec, await push(client, codec, compress(body))]).toEqual([codec, "NONE"]);
  }
  const heavy = bombs(256 * MiB);
  for (const { codec, payload: bomb } of heavy) {
    expect([codec, await push(client, codec, bomb.subarray(0, MiB))]).toEqual([
      codec,
      "INVALID_RECORD",
    ]);
  }
  expect(await push(client, 0, new Uint8Array(100).fill(0xff))).toBe("INVALID_RECORD");
  expect(await push(client, 0, new Uint8Array(MiB + 1))).toBe("TELEMETRY_TOO_LARGE");
  expect(await push(client, 7, body)).toBe("UNSUPPORTED_COMPRESSION_TYPE");

  const lines = await metricsOf(broker);
  const told = lines.filter((line) => line.startsWith("chronik_client_sent_total{"));
  expect(told.length).toBe(codecs.length);
  expect(told.every((line) => /client_id="pusher",.*,topic="t"} 5$/.test(line))).toBe(true);
  expect(lines.filter((line) => /^chronik_client_info{.*} 1$/.test(line))).toHaveLength(5);
  expect(lines).toContain('chronik_telemetry_pushes{error="NONE"} 5');
  expect(lines).toContain('chronik_telemetry_pushes{error="TELEMETRY_TOO_LARGE"} 1');
  expect(lines).toContain("chronik_telemetry_series 15");
  // One for each push: their connection still stands.
  const instances = codecs.length + heavy.length + 3;
  expect(lines).toContain(`chronik_telemetry_instances ${instances}`);
  client.close();
}, 60_000);

test("subscriptions survive a restart, and reach clients at once", async () => {
  await using broker = await startBroker({
    args: ["-X", "telemetry.enabled=true", "-X", "telemetry.max.bytes=1000"],
  });
  const before = await connect(broker);
  const subscribe = async (client: WireClient, match: string) => {
    const change = { name: "match", configOperation: 0, value: match };
    const configs = [change, { name: "metrics", configOperation: 0, value: "a,b" }];
    const resources = [{ resourceType: 16, resourceName: "one", configs }];
    await client.request(incrementalAlterConfigsApi, 1, { resources, validateOnly: false });
  };
  const wanted = async (client: WireClient, clientInstanceId = zeroUuid) => {
    return await client.request(getTelemetrySubscriptionsApi, 0, { clientInstanceId });
  };
  const first = await wanted(before);
  expect(first).toMatchObject({ requestedMetrics: [], telemetryMaxBytes: 1000 });
  await subscribe(before, "client_id=p.*,client_source_port=\\d+");
  const same = await wanted(before, first.clientInstanceId);
  expect(same).toMatchObject({ requestedMetrics: ["a", "b"], errorCode: 0 });
  expect(same.clientInstanceId).toBe(first.clientInstanceId);
  before.close();
  await broker.kill9();
  await broker.restart();
  const after = await connect(broker);
  expect((await wanted(after)).requestedMetrics).toEqual(["a", "b"]);
  await subscribe(after, "client_id=other");
  expect((await wanted(after)).requestedMetrics).toEqual([]);
  after.close();
}, 60_000);

test("off, it is not advertised; who pushes is answered, and shown nowhere", async () => {
  await using broker = await startBroker();
  const client = await connect(broker);
  expect(await advertised(client)).toEqual([]);
  client.close();
  const blind = await WireClient.open({
    host: "127.0.0.1",
    port: broker.kafkaPort,
    clientId: "blind",
  });
  expect(await push(blind, 0, payload([gauge("level", [point(7)])]))).toBe("NONE");
  const lines = await metricsOf(broker);
  expect(lines.filter((line) => /chronik_(client|telemetry)_/.test(line))).toEqual([]);
  blind.close();
}, 60_000);
