import { incrementalAlterConfigsApi } from "../../src/protocol/messages/44-incremental-alter-configs.ts";
import { getTelemetrySubscriptionsApi } from "../../src/protocol/messages/71-get-telemetry-subscriptions.ts";
import { pushTelemetryApi } from "../../src/protocol/messages/72-push-telemetry.ts";
import { zeroUuid } from "../../src/protocol/uuid.ts";
import type { Case, Peer } from "./peer.ts";

/**
 * Client metrics (KIP-714). Neither broker advertises them: Kafka has no exporter, chronik's are
 * off; both answer.
 */

const clientMetrics = 16;
const oneUuid = "AAAAAAAAAAAAAAAAAAAAAQ";
const MiB = 1024 * 1024;

/** Ids of clients that no other case has. */
function clientId(number: number): string {
  return Buffer.from(`client-${`${number}`.padStart(9, "0")}`).toString("base64url");
}

async function subscribe(peer: Peer, name: string, configs: Record<string, string | null>) {
  const changes = Object.entries(configs).map(([key, value]) => ({
    name: key,
    configOperation: value === null ? 1 : 0,
    value,
  }));
  const resources = [{ resourceType: clientMetrics, resourceName: name, configs: changes }];
  await peer.ask(incrementalAlterConfigsApi, 1, { resources, validateOnly: false });
  // A broker hears of it from its controller a moment later, and tells nobody when.
  await Bun.sleep(300);
}

const nothing = { metrics: null, "interval.ms": null, match: null };

async function askFor(peer: Peer, label: string, clientInstanceId: string) {
  const answer = await peer.note(label, getTelemetrySubscriptionsApi, 0, { clientInstanceId });
  return answer?.subscriptionId ?? 0;
}

interface Pushed {
  readonly terminating?: boolean;
  readonly compressionType?: number;
  readonly metrics?: Uint8Array;
}

async function push(peer: Peer, label: string, id: string, subscriptionId: number, more: Pushed) {
  const plain = { terminating: false, compressionType: 0, metrics: new Uint8Array(0) };
  const request = { clientInstanceId: id, subscriptionId, ...plain, ...more };
  await peer.note(label, pushTelemetryApi, 0, request);
}

async function asking(peer: Peer): Promise<void> {
  for (const id of [clientId(1), clientId(2), oneUuid]) {
    await askFor(peer, `${id} first`, id);
    await askFor(peer, `${id} too early`, id);
  }
  const first = await peer.ask(getTelemetrySubscriptionsApi, 0, { clientInstanceId: zeroUuid });
  const second = await peer.ask(getTelemetrySubscriptionsApi, 0, { clientInstanceId: zeroUuid });
  const same = first.clientInstanceId === second.clientInstanceId;
  const got = first.clientInstanceId !== zeroUuid;
  const plain = { ...first, clientInstanceId: "", subscriptionId: 0 };
  peer.add("a new id each time", { plain, same, got });
}

async function pushing(peer: Peer): Promise<void> {
  const text = new TextEncoder().encode("text".repeat(100));
  const payloads: [string, Pushed][] = [
    ["empty", {}],
    ["empty zstd", { compressionType: 4 }],
    ["gzip", { compressionType: 1, metrics: Bun.gzipSync(text) }],
    ["zstd", { compressionType: 4, metrics: Bun.zstdCompressSync(text) }],
    ["codec 5", { compressionType: 5, metrics: text }],
    ["codec -1", { compressionType: -1, metrics: text }],
    ["gzip that is none", { compressionType: 1, metrics: text }],
    ["snappy that is none", { compressionType: 2, metrics: text }],
    ["lz4 that is none", { compressionType: 3, metrics: text }],
    ["zstd that is none", { compressionType: 4, metrics: text }],
    ["cut gzip", { compressionType: 1, metrics: Bun.gzipSync(text).subarray(0, -12) }],
    ["1 MiB", { metrics: new Uint8Array(MiB) }],
    ["1 MiB and a byte", { metrics: new Uint8Array(MiB + 1) }],
    ["gzip to 1 MiB", { compressionType: 1, metrics: Bun.gzipSync(new Uint8Array(MiB)) }],
    ["gzip to more", { compressionType: 1, metrics: Bun.gzipSync(new Uint8Array(MiB + 1)) }],
    ["terminating", { terminating: true }],
  ];
  for (const [index, [label, more]] of payloads.entries()) {
    const id = clientId(100 + index);
    const subscription = await askFor(peer, label, id);
    await push(peer, label, id, subscription, more);
    await push(peer, `${label}, again`, id, subscription, {});
    await push(peer, `${label}, a last time`, id, subscription, { terminating: true });
    await push(peer, `${label}, after the last`, id, subscription, {});
    await push(peer, `${label}, then`, id, subscription, {});
    await askFor(peer, `${label}, asks again`, id);
  }
  for (const id of [zeroUuid, oneUuid]) await push(peer, `id ${id}`, id, 0, {});
}

async function oldSubscriptions(peer: Peer): Promise<void> {
  const id = clientId(200);
  const before = await askFor(peer, "none", id);
  await push(peer, "another's", id, before + 1, {});
  await askFor(peer, "after another's", id);
  await askFor(peer, "too early", id);
  await subscribe(peer, "s-one", { metrics: "org.apache", "interval.ms": "60000" });
  await push(peer, "an old one", id, before, {});
  const now = await askFor(peer, "one", id);
  await push(peer, "the new one", id, now, {});
  await subscribe(peer, "s-one", nothing);
  await askFor(peer, "none again", id);
  await push(peer, "unasked", clientId(201), 7, {});
  await push(peer, "unasked, again", clientId(201), 7, {});
  await askFor(peer, "unasked, then", clientId(201));
}

async function matching(peer: Peer): Promise<void> {
  await subscribe(peer, "s-default", { metrics: "a." });
  await askFor(peer, "one metric", clientId(300));
  await subscribe(peer, "s-default", { metrics: "*,b", "interval.ms": "100" });
  await askFor(peer, "every metric", clientId(300));
  await subscribe(peer, "s-default", { ...nothing, "interval.ms": "200" });
  await askFor(peer, "no metric", clientId(300));
  await subscribe(peer, "s-default", { "interval.ms": "3600000", metrics: "late" });
  await askFor(peer, "an hour", clientId(300));
  const patterns = [
    "client_id=differ",
    "client_id=diff",
    "client_id=d.*",
    "client_id=(?i)DIFFER",
    "client_software_name=unknown,client_software_version=u.*n",
    "client_source_address=127\\.0\\.0\\.1",
    "client_source_port=[0-9]+",
    "client_source_port=[a-z]+",
    "client_id=differ,client_software_name=other",
    " client_id = differ ",
    `client_instance_id=${clientId(301)}`,
    "client_id=other,client_id=differ",
  ];
  for (const match of patterns) {
    await subscribe(peer, "s-default", { metrics: "x", match, "interval.ms": null });
    await askFor(peer, `match ${match}`, clientId(301));
  }
  await subscribe(peer, "s-default", nothing);
}

/** What a subscription may say. */
async function configs(peer: Peer): Promise<void> {
  const values: (readonly [string, string])[] = [
    ...["", "a", "a=b", "client_id=", "client_id==", "client_id=x=", "=x", "client_id=x=y"],
    ...["client_id=(", "client_id=a**", "client_id=[", "client_id=x,", "client_id=x,client_id=x"],
    ...["CLIENT_ID=x", "client_id = x ", "client_id=(?i)x", "client_id=\\Qa.b\\E", "client_id=^a$"],
  ].map((text) => ["match", text] as const);
  values.push(
    ...["", "*", "a,b", "a,,b", "a,a", " a , b "].map((text) => ["metrics", text] as const),
  );
  const intervals = ["", "99", "100", "3600000", "3600001", "1.5", " 200 ", "x", "2147483648"];
  values.push(...intervals.map((text) => ["interval.ms", text] as const), ["other", "1"]);
  for (const [name, value] of values) {
    const change = { name, configOperation: 0, value };
    const resources = [{ resourceType: clientMetrics, resourceName: "s-c", configs: [change] }];
    const request = { resources, validateOnly: true };
    await peer.note(`${name} '${value}'`, incrementalAlterConfigsApi, 1, request);
  }
}

export const clientMetricsCases: Readonly<Record<string, Case>> = {
  "client-metrics-asking": asking,
  "client-metrics-pushing": pushing,
  "client-metrics-old": oldSubscriptions,
  "client-metrics-configs": configs,
  "client-metrics-match": matching,
};
