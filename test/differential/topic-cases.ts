import { listOffsetsApi } from "../../src/protocol/messages/02-list-offsets.ts";
import { metadataApi } from "../../src/protocol/messages/03-metadata.ts";
import {
  type CreateTopicsRequestCreatableTopic,
  createTopicsApi,
} from "../../src/protocol/messages/19-create-topics.ts";
import { deleteTopicsApi } from "../../src/protocol/messages/20-delete-topics.ts";
import { createPartitionsApi } from "../../src/protocol/messages/37-create-partitions.ts";
import { describeTopicPartitionsApi } from "../../src/protocol/messages/75-describe-topic-partitions.ts";
import { zeroUuid } from "../../src/protocol/uuid.ts";
import type { Case, Peer } from "./peer.ts";

type Topic = CreateTopicsRequestCreatableTopic;

const unknownId = "AAAAAAAAAAAAAAAAAAAAZg";

export function topic(name: string, parts: Partial<Topic> = {}): Topic {
  return { name, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [], ...parts };
}

/** What a run before this one may have left. */
export async function remove(peer: Peer, name: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const { responses } = await peer.ask(deleteTopicsApi, 5, {
      topicNames: [name],
      timeoutMs: 30_000,
    });
    if (responses[0]?.errorCode !== 0) return;
  }
}

export async function create(peer: Peer, name: string, parts: Partial<Topic> = {}) {
  const request = { topics: [topic(name, parts)], timeoutMs: 30_000, validateOnly: false };
  await remove(peer, name);
  const { topics } = await peer.ask(createTopicsApi, 7, request);
  if (topics[0]?.errorCode !== 0) throw new Error(`${name}: ${topics[0]?.errorMessage}`);
  for (let tries = 0; ; tries++) {
    const seen = await peer.ask(metadataApi, 12, {
      topics: [{ name, topicId: zeroUuid }],
      allowAutoTopicCreation: false,
    });
    const found = seen.topics[0];
    const ready = found?.partitions.every(({ leaderId }) => leaderId >= 0);
    if (found?.errorCode === 0 && ready && (await leads(peer, name, found.partitions.length))) {
      return found.topicId;
    }
    if (tries > 100) throw new Error(`${name} has no leader`);
    await Bun.sleep(50);
  }
}

/** Kafka tells of a leader before it leads. */
async function leads(peer: Peer, name: string, count: number): Promise<boolean> {
  const partitions = Array.from({ length: count }, (_, partitionIndex) => ({
    partitionIndex,
    timestamp: -1,
  }));
  const request = { replicaId: -1, topics: [{ name, partitions }] };
  const { topics } = await peer.ask(listOffsetsApi, 7, request);
  return (
    count > 0 && topics.every((one) => one.partitions.every(({ errorCode }) => errorCode === 0))
  );
}

const assign = (...lists: number[][]) => ({
  numPartitions: -1,
  replicationFactor: -1,
  assignments: lists.map((brokerIds, partitionIndex) => ({ partitionIndex, brokerIds })),
});
const config = (name: string, value: string | null) => ({ configs: [{ name, value }] });

const wrongTopics: Readonly<Record<string, Topic[]>> = {
  good: [topic("ct-good")],
  exists: [topic("ct-exists")],
  "no partitions": [topic("ct-a", { numPartitions: 0 })],
  "partitions -2": [topic("ct-a", { numPartitions: -2 })],
  "no replicas": [topic("ct-a", { replicationFactor: 0 })],
  "replicas -2": [topic("ct-a", { replicationFactor: -2 })],
  "replicas 3": [topic("ct-a", { replicationFactor: 3 })],
  "empty name": [topic("")],
  dot: [topic(".")],
  dots: [topic("..")],
  "bad characters": [topic("a b/c")],
  umlaut: [topic("ä")],
  "249": [topic("x".repeat(249))],
  "250": [topic("x".repeat(250))],
  colliding: [topic("ct_exists.x")],
  "colliding in one request": [topic("cc.a_b"), topic("cc_a.b")],
  twice: [topic("ct-twice"), topic("ct-twice"), topic("ct-once")],
  "cluster metadata": [topic("__cluster_metadata")],
  "consumer offsets": [topic("__consumer_offsets")],
  "bad config name": [topic("ct-a", config("no.such", "1"))],
  "bad config value": [topic("ct-a", config("retention.ms", "soon"))],
  "config range": [topic("ct-a", config("segment.bytes", "-1"))],
  "config null": [topic("ct-a", config("retention.ms", null))],
  "bad policy": [topic("ct-a", config("cleanup.policy", "burn"))],
  "bad codec": [topic("ct-a", config("compression.type", "rar"))],
  assigned: [topic("ct-assigned", assign([1], [1]))],
  "assigned and counted": [topic("ct-a", { ...assign([1]), numPartitions: 1 })],
  "assigned and replicated": [topic("ct-a", { ...assign([1]), replicationFactor: 1 })],
  "assigned to nobody": [topic("ct-a", assign([]))],
  "assigned to a stranger": [topic("ct-a", assign([7]))],
  "assigned twice": [topic("ct-a", assign([1, 1]))],
  "assigned unevenly": [topic("ct-a", assign([1], [1, 2]))],
  "assigned with a gap": [
    topic("ct-a", { ...assign(), assignments: [{ partitionIndex: 1, brokerIds: [1] }] }),
  ],
  "assigned one twice": [
    topic("ct-a", {
      ...assign(),
      assignments: [0, 0].map((partitionIndex) => ({ partitionIndex, brokerIds: [1] })),
    }),
  ],
  defaults: [topic("ct-defaults", { numPartitions: -1, replicationFactor: -1 })],
  nothing: [],
};

async function createTopics(peer: Peer): Promise<void> {
  await create(peer, "ct-exists");
  await create(peer, "ct-exists_x");
  for (const [label, topics] of Object.entries(wrongTopics)) {
    const request = { topics, timeoutMs: 30_000, validateOnly: false };
    await peer.note(`${label}, only checked`, createTopicsApi, 5, {
      ...request,
      validateOnly: true,
    });
    const answer = await peer.ask(createTopicsApi, 4, request);
    peer.add(`CreateTopics v4 ${label}`, answer);
  }
  await peer.every("good", createTopicsApi, [2, 7], (version) => ({
    topics: [topic(`ct-v${version}`, config("retention.ms", "5"))],
    timeoutMs: 30_000,
    validateOnly: false,
  }));
}

async function deleteTopics(peer: Peer): Promise<void> {
  for (let version = 1; version <= 5; version++) {
    await create(peer, `dt-${version}`);
    await peer.note("named", deleteTopicsApi, version, {
      topicNames: [`dt-${version}`, "dt-unknown", "dt-twice", "dt-twice", "", "a b"],
      timeoutMs: 30_000,
    });
  }
  const id = await create(peer, "dt-6");
  const other = await create(peer, "dt-7");
  await create(peer, "dt-8");
  const target = (name: string | null, topicId = zeroUuid) => ({ name, topicId });
  const wrong = {
    both: [target("dt-6", id)],
    neither: [target(null)],
    "neither twice": [target(null), target(null)],
    "unknown id": [target(null, unknownId)],
    "unknown name": [target("dt-unknown")],
    "id twice": [target(null, id), target(null, id)],
    "name twice": [target("dt-8"), target("dt-8")],
    "name and id": [target("dt-6"), target(null, id)],
    good: [target(null, other), target("dt-8")],
    again: [target(null, other), target("dt-8")],
    nothing: [],
  };
  for (const [label, topics] of Object.entries(wrong)) {
    await peer.note(label, deleteTopicsApi, 6, { topics, timeoutMs: 30_000 });
  }
}

async function createPartitions(peer: Peer): Promise<void> {
  await create(peer, "cp", { numPartitions: 2 });
  const to = (count: number, assignments: { brokerIds: number[] }[] | null = null) => [
    { name: "cp", count, assignments },
  ];
  const wrong = {
    same: to(2),
    fewer: to(1),
    none: to(0),
    minus: to(-1),
    unknown: [{ name: "cp-unknown", count: 3, assignments: null }],
    "bad name": [{ name: "a b", count: 3, assignments: null }],
    "empty name": [{ name: "", count: 3, assignments: null }],
    twice: [...to(3), ...to(4)],
    assigned: to(3, [{ brokerIds: [1] }]),
    "too few assigned": to(4, [{ brokerIds: [1] }]),
    "too many assigned": to(3, [{ brokerIds: [1] }, { brokerIds: [1] }]),
    "none assigned": to(3, []),
    "assigned to nobody": to(3, [{ brokerIds: [] }]),
    "assigned to a stranger": to(3, [{ brokerIds: [9] }]),
    "assigned twice": to(3, [{ brokerIds: [1, 1] }]),
    good: to(3),
    nothing: [],
  };
  for (const [label, topics] of Object.entries(wrong)) {
    await peer.every(`${label}, only checked`, createPartitionsApi, [0, 3], () => ({
      topics,
      timeoutMs: 30_000,
      validateOnly: true,
    }));
  }
  const request = { topics: to(3), timeoutMs: 30_000, validateOnly: false };
  await peer.note("done", createPartitionsApi, 3, request);
  await peer.note("again", createPartitionsApi, 3, request);
}

async function metadata(peer: Peer): Promise<void> {
  const id = await create(peer, "md", { numPartitions: 3 });
  const named = (...names: string[]) => names.map((name) => ({ name, topicId: zeroUuid }));
  const known = named("md", "md-unknown", "md", "", "a b", ".", "y".repeat(250));
  const ask = (topics: { name: string | null; topicId: string }[] | null, auto = false) => ({
    topics,
    allowAutoTopicCreation: auto,
    includeClusterAuthorizedOperations: false,
    includeTopicAuthorizedOperations: false,
  });
  await peer.every("known and not", metadataApi, [4, 13], () => ask(known));
  await peer.every("nothing", metadataApi, [1, 13], (v) => ask([], v < 4));
  await peer.every("operations", metadataApi, [8, 13], (version) => ({
    ...ask(named("md", "md-unknown")),
    includeTopicAuthorizedOperations: true,
    includeClusterAuthorizedOperations: version <= 10,
  }));
  await peer.every("by id", metadataApi, [12, 13], () =>
    ask([
      { name: null, topicId: id },
      { name: null, topicId: unknownId },
    ]),
  );
  await peer.every("by zero id", metadataApi, [12, 13], () =>
    ask([{ name: null, topicId: zeroUuid }]),
  );
  await peer.every("by both", metadataApi, [12, 13], () => ask([{ name: "md", topicId: id }]));
  await peer.every("by id and by name", metadataApi, [12, 13], () =>
    ask([{ name: null, topicId: id }, ...named("md")]),
  );
  await peer.every("by null, too old", metadataApi, [10, 11], () =>
    ask([{ name: null, topicId: id }]),
  );
  await peer.every("bad names, created", metadataApi, [1, 13], (v) =>
    ask(named("", "a b", "..", "y".repeat(250), "md_x.y"), v < 99),
  );
  for (let tries = 0; tries < 40; tries++) {
    await peer.ask(metadataApi, 9, ask(named("md-auto"), true));
    await Bun.sleep(25);
  }
  await peer.note("created by asking", metadataApi, 9, ask(named("md-auto"), true));
}

async function topicPartitions(peer: Peer): Promise<void> {
  await create(peer, "tp-a", { numPartitions: 4 });
  await create(peer, "tp-b", { numPartitions: 2 });
  const api = describeTopicPartitionsApi;
  const both = [{ name: "tp-b" }, { name: "tp-a" }, { name: "tp-none" }, { name: "tp-a" }];
  const cursor = (topicName: string, partitionIndex: number) => ({ topicName, partitionIndex });
  for (const limit of [0, -1, 1, 3, 4, 5, 6, 7, 2000, 5000]) {
    await peer.note(`limit ${limit}`, api, 0, { topics: both, responsePartitionLimit: limit });
  }
  const cursors = [
    cursor("tp-a", 2),
    cursor("tp-a", 4),
    cursor("tp-a", 99),
    cursor("tp-a", -1),
    cursor("tp-b", 1),
    cursor("tp-az", 1),
    cursor("tp-none", 0),
    cursor("zz", 0),
    cursor("", 0),
  ];
  for (const at of cursors) {
    await peer.note(`from ${at.topicName} ${at.partitionIndex}`, api, 0, {
      topics: both,
      responsePartitionLimit: 3,
      cursor: at,
    });
  }
  await peer.note("bad names", api, 0, {
    topics: [{ name: "" }, { name: "a b" }],
    responsePartitionLimit: 10,
  });
}

export const topicCases: Readonly<Record<string, Case>> = {
  "create-topics": createTopics,
  "delete-topics": deleteTopics,
  "create-partitions": createPartitions,
  metadata: metadata,
  "topic-partitions": topicPartitions,
};
