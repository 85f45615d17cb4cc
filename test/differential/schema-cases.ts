/**
 * Every API that both brokers serve, in every version: a plausible request, each field at odd
 * values, and bytes that are no request. Made from the message definitions, not by hand.
 */

import { ErrorCode } from "../../src/protocol/error-code.ts";
import { isFlexible } from "../../src/protocol/header.ts";
import { listOffsetsApi } from "../../src/protocol/messages/02-list-offsets.ts";
import { findCoordinatorApi } from "../../src/protocol/messages/10-find-coordinator.ts";
import { createTopicsApi } from "../../src/protocol/messages/19-create-topics.ts";
import { apiCodecs } from "../protocol/support/codecs.ts";
import {
  covers,
  type MessageSchema,
  messageSchemas,
  type StructValue,
} from "../protocol/support/schema.ts";
import type { Case, Peer } from "./peer.ts";
import {
  OddWriter,
  oddVariants,
  type Subject,
  structValue,
  type Variant,
} from "./schema-values.ts";

type AnyApi = (typeof apiCodecs)[number];

/** What a plausible request of an API has other than what the names of its fields suggest. */
const overrides: Readonly<Record<string, StructValue>> = {
  CreateTopics: { validateOnly: true },
  CreatePartitions: { validateOnly: true },
  AlterConfigs: { validateOnly: true },
  IncrementalAlterConfigs: { validateOnly: true },
  UpdateFeatures: { validateOnly: true },
  JoinGroup: { reason: null },
  Fetch: { forgottenTopicsData: [] },
  AlterUserScramCredentials: { deletions: [] },
};

/** Not sent, with the reason. */
const leftOut: readonly { readonly where: RegExp; readonly why: string }[] = [
  { where: /^Fetch .*maxWaitMs (99|21|90)/, why: "both wait" },
  { where: /^Fetch .*minBytes (2|99|1$)/, why: "both wait" },
  { where: /^Metadata v\d+ topics..\.name unknown/, why: "Kafka makes the topic a moment later" },
  { where: /^UnregisterBroker .*brokerId 1$/, why: "Kafka unregisters itself" },
  { where: /^JoinGroup .*(sessionTimeoutMs|rebalanceTimeoutMs) 2147/, why: "both wait" },
  { where: /^Produce .*(twice|acks (0|1|2|99))/, why: "other offsets follow" },
  {
    where: /^(Create|Delete|Elect|Alter|List|Update)\w+ v\d+ timeoutMs [12]$/,
    why: "Kafka may be too slow",
  },
  {
    where: /^ConsumerGroupHeartbeat v[01] subscribedTopicNames five said/,
    why: "the bytes of a topic's id are read as names, and they are made by chance",
  },
];

/** Kafka never answers these: they are waited for less long, and left out where time is short. */
const unanswered: readonly RegExp[] = [
  /^JoinGroup v\d protocols twice$/,
  /^AlterConfigs v\d resources twice$/,
  /^AddPartitionsToTxn v[45] transactions none$/,
  /^DescribeShareGroupOffsets v\d groups\[\]\.topics\[\]\.partitions \[\d+\]$/,
];
const unansweredMs = 3000;

const apisLeftOut = new Map<string, string>([
  ["ApiVersions", "has cases of its own"],
  ["AddRaftVoter", "not served"],
]);

async function subjectOf(peer: Peer, api: AnyApi): Promise<Subject> {
  const topic = `sweep-${api.key}`;
  const created = await peer.ask(createTopicsApi, 7, {
    topics: [{ name: topic, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }],
    timeoutMs: 10_000,
  });
  const partitions = [{ partitionIndex: 0, timestamp: -1 }];
  for (let tries = 0; tries < 50; tries++) {
    const answer = { replicaId: -1, topics: [{ name: topic, partitions }] };
    const { topics } = await peer.ask(listOffsetsApi, 1, answer);
    if (topics[0]?.partitions[0]?.errorCode === 0) break;
    await Bun.sleep(50);
  }
  return { topic, topicId: created.topics[0]?.topicId ?? "", group: `sweep-${api.key}` };
}

/** Brokers make the topics behind the coordinators when first asked for one. */
async function warmCoordinators(peer: Peer, api: AnyApi): Promise<void> {
  if (!/Txn|Transaction|ProducerId|Group|Offset/.test(api.name)) return;
  for (const keyType of [0, 1]) {
    for (let tries = 0; tries < 50; tries++) {
      const found = await peer.ask(findCoordinatorApi, 3, { key: "warm", keyType });
      if (found.errorCode !== ErrorCode.COORDINATOR_NOT_AVAILABLE) break;
      await Bun.sleep(50);
    }
  }
}

async function sweep(
  peer: Peer,
  api: AnyApi,
  versions: readonly number[],
  isShort: boolean,
): Promise<void> {
  const schema = messageSchemas.find(({ name }) => name === `${api.name}Request`);
  if (schema === undefined) throw new Error(`no definition of ${api.name}`);
  const subject = await subjectOf(peer, api);
  await warmCoordinators(peer, api);
  for (const version of versions) {
    let serial = 0;
    for (const { label, value } of requests(schema, api, version, subject)) {
      serial += 1;
      const name = `${api.name} v${version} ${label}`;
      const isUnanswered = unanswered.some((where) => where.test(name));
      if (isShort && isUnanswered) continue;
      if (leftOut.some(({ where }) => where.test(name))) continue;
      const own = forGroup(value, `${api.key}-${version}-${serial}`);
      const waitMs = isUnanswered ? unansweredMs : undefined;
      await peer.noteBytes(label, api, version, bytesOf(api, own, version), waitMs);
    }
    await sendNonsense(peer, api, version, schema, subject);
  }
}

function requests(
  schema: MessageSchema,
  api: AnyApi,
  version: number,
  subject: Subject,
): Variant[] {
  const plain = structValue(schema, schema.name, version, subject);
  const fields = schema.structs[schema.name] ?? [];
  const carried = fields.filter(({ versions }) => covers(versions, version));
  const names = new Set(carried.map(({ name }) => name));
  const base = { ...plain, ...pick(overrides[api.name], names) };
  const odd = oddVariants(schema, version, base, subject);
  return [{ label: "plausible", value: base }, ...odd];
}

/** Groups remember: each request gets one of its own. */
function forGroup(value: StructValue, group: string): StructValue {
  const { groupId } = value;
  const isName = typeof groupId === "string" && groupId !== "" && !groupId.startsWith("\u0000");
  return isName ? { ...value, groupId: `${groupId.slice(0, 200)}-${group}` } : value;
}

function pick(given: StructValue | undefined, carried: ReadonlySet<string>): StructValue {
  const entries = Object.entries(given ?? {}).filter(([name]) => carried.has(name));
  return Object.fromEntries(entries);
}

function bytesOf(api: AnyApi, value: StructValue, version: number): Uint8Array {
  const writer = new OddWriter();
  api.encodeRequest(writer, value, version);
  return writer.take();
}

async function sendNonsense(
  peer: Peer,
  api: AnyApi,
  version: number,
  schema: MessageSchema,
  subject: Subject,
): Promise<void> {
  const plausible = requests(schema, api, version, subject)[0]?.value ?? {};
  const whole = bytesOf(api, forGroup(plausible, `nonsense-${version}`), version);
  const send = (label: string, bytes: Uint8Array) => {
    return peer.noteBytes(label, api, version, bytes);
  };
  if (whole.length > 1) {
    await send("cut by one byte", whole.subarray(0, -1));
    await send("cut in half", whole.subarray(0, whole.length >> 1));
  }
  if (whole.length > 0) await send("no body", new Uint8Array(0));
  await send("all ones", new Uint8Array(40).fill(0xff));
  const fields = schema.structs[schema.name] ?? [];
  if (!isFlexible(api.key, version) || fields.some((one) => covers(one.tagged, version))) return;
  // The last byte says: no tagged fields.
  const tagged = [...whole.subarray(0, -1)];
  await send("unknown tag", Uint8Array.from([...tagged, 1, 99, 2, 1, 2]));
  await send("tag longer than the rest", Uint8Array.from([...tagged, 1, 99, 50, 1, 2]));
  await send("5 tags said, one there", Uint8Array.from([...tagged, 5, 99, 1, 1]));
}

/** Groups are listed before the sweep of JoinGroup leaves some that change with time. */
function placeOf({ name, key }: AnyApi): number {
  return name === "ListGroups" ? 10.5 : key;
}

/**
 * One case for each API, in the order of keys; `common` are the versions both brokers serve. A
 * short run takes the newest of them only.
 */
export function schemaCases(
  common: ReadonlyMap<number, readonly [number, number]>,
  isShort: boolean,
): Readonly<Record<string, Case>> {
  const cases: Record<string, Case> = {};
  for (const api of apiCodecs.toSorted((left, right) => placeOf(left) - placeOf(right))) {
    const range = common.get(api.key);
    if (range === undefined || apisLeftOut.has(api.name)) continue;
    const to = range[1];
    const from = isShort ? to : range[0];
    const versions = Array.from({ length: to - from + 1 }, (_, index) => from + index);
    cases[`sweep ${`${api.key}`.padStart(2, "0")}`] = (peer) => sweep(peer, api, versions, isShort);
  }
  return cases;
}
