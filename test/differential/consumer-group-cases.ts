import { ErrorCode } from "../../src/protocol/error-code.ts";
import { offsetCommitApi } from "../../src/protocol/messages/08-offset-commit.ts";
import { offsetFetchApi } from "../../src/protocol/messages/09-offset-fetch.ts";
import { findCoordinatorApi } from "../../src/protocol/messages/10-find-coordinator.ts";
import { joinGroupApi } from "../../src/protocol/messages/11-join-group.ts";
import { heartbeatApi } from "../../src/protocol/messages/12-heartbeat.ts";
import { leaveGroupApi } from "../../src/protocol/messages/13-leave-group.ts";
import { syncGroupApi } from "../../src/protocol/messages/14-sync-group.ts";
import { describeGroupsApi } from "../../src/protocol/messages/15-describe-groups.ts";
import { listGroupsApi } from "../../src/protocol/messages/16-list-groups.ts";
import { describeConfigsApi } from "../../src/protocol/messages/32-describe-configs.ts";
import { deleteGroupsApi } from "../../src/protocol/messages/42-delete-groups.ts";
import { incrementalAlterConfigsApi } from "../../src/protocol/messages/44-incremental-alter-configs.ts";
import { offsetDeleteApi } from "../../src/protocol/messages/47-offset-delete.ts";
import {
  consumerGroupHeartbeatApi as beatApi,
  type ConsumerGroupHeartbeatRequest,
} from "../../src/protocol/messages/68-consumer-group-heartbeat.ts";
import { consumerGroupDescribeApi as describeApi } from "../../src/protocol/messages/69-consumer-group-describe.ts";
import type { Case, Peer } from "./peer.ts";
import { create } from "./topic-cases.ts";

/** Groups of the consumer protocol (KIP-848). Both brokers compute targets once a second. */

/** Each case reads a topic of its own. */
function topicOf(groupId: string): string {
  return groupId === "cg-m" ? "cg" : groupId.replace("cg-", "cg-t");
}

function beat(
  groupId: string,
  memberId: string,
  memberEpoch: number,
  parts: Partial<ConsumerGroupHeartbeatRequest> = {},
): ConsumerGroupHeartbeatRequest {
  const joins = {
    rebalanceTimeoutMs: 60_000,
    subscribedTopicNames: [topicOf(groupId)],
    topicPartitions: [],
  };
  return { groupId, memberId, memberEpoch, ...(memberEpoch === 0 ? joins : {}), ...parts };
}

/** More than the time between two targets. */
async function nextTarget(): Promise<void> {
  await Bun.sleep(1_200);
}

const describe = (...groupIds: string[]) => ({ groupIds, includeAuthorizedOperations: false });

async function warm(peer: Peer, topic: string): Promise<string> {
  // The first request makes the coordinators; each of the groups must be with one.
  for (const key of ["cg-x", "cg-m", "cg-s", "cg-c"]) {
    for (let tries = 0; tries < 200; tries++) {
      const found = await peer.ask(findCoordinatorApi, 3, { key, keyType: 0 });
      const left = await peer.ask(beatApi, 1, beat(key, "nobody", -1));
      const { GROUP_ID_NOT_FOUND, UNKNOWN_MEMBER_ID } = ErrorCode;
      const isThere = [GROUP_ID_NOT_FOUND, UNKNOWN_MEMBER_ID].some((one) => one === left.errorCode);
      if (found.errorCode === ErrorCode.NONE && isThere) break;
      await Bun.sleep(50);
    }
  }
  const id = await create(peer, topic, { numPartitions: 4 });
  // Kafka's coordinators hear of a new topic a moment later.
  await Bun.sleep(500);
  return id;
}

async function senseless(peer: Peer): Promise<void> {
  const topicId = await warm(peer, "cg-tx");
  const cases: readonly (readonly [string, Partial<ConsumerGroupHeartbeatRequest>])[] = [
    ["no group", { groupId: "" }],
    ["no member id", { memberId: "" }],
    ["empty instance", { instanceId: "" }],
    ["empty rack", { rackId: "" }],
    ["no timeout", { rebalanceTimeoutMs: -1 }],
    ["partitions held", { topicPartitions: [{ topicId, partitions: [0] }] }],
    ["partitions unknown", { topicPartitions: null }],
    ["no topics", { subscribedTopicNames: null }],
    ["epoch -3", { memberEpoch: -3 }],
    ["epoch -2", { memberEpoch: -2 }],
    ["epoch -1", { memberEpoch: -1 }],
    ["epoch 1", { memberEpoch: 1 }],
    ["assignor", { serverAssignor: "best" }],
    ["expression", { subscribedTopicRegex: "(" }],
    ["backreference", { subscribedTopicRegex: "(a)\\1" }],
    ["lookahead", { subscribedTopicRegex: "a(?=b)" }],
    ["nested repetition", { subscribedTopicRegex: "a**" }],
    ["large repetition", { subscribedTopicRegex: "a{1001}" }],
  ];
  for (const [label, parts] of cases) {
    await peer.note(label, beatApi, 1, beat("cg-x", "x", 0, parts));
  }
  const { instanceId: _, ...v0 } = beat("cg-x", "", 1);
  await peer.note("no member id", beatApi, 0, v0);
  await peer.note("unknown groups", describeApi, 1, describe("cg-x", "", "cg-y"));
}

async function members(peer: Peer): Promise<void> {
  const topicId = await warm(peer, "cg");
  const held = (...partitions: number[]) => ({ topicPartitions: [{ topicId, partitions }] });
  const note = (label: string, memberId: string, epoch: number, parts = {}) =>
    peer.note(label, beatApi, 1, beat("cg-m", memberId, epoch, parts));
  await note("first", "a", 0);
  await peer.every("one", describeApi, [0, 1], () => describe("cg-m"));
  await note("idle", "a", 2);
  await note("ahead", "a", 3);
  await note("stranger", "b", 2);
  await nextTarget();
  await note("second", "b", 0);
  await note("told to revoke", "a", 2, held(0, 1, 2, 3));
  await note("still there", "a", 2, held(0, 1, 2, 3));
  await peer.note("between", describeApi, 1, describe("cg-m"));
  await note("waits", "b", 3);
  await note("revoked", "a", 2, held(0, 1));
  await note("repeated", "a", 2, held(0, 1));
  await note("repeated with more", "a", 2, held(0, 1, 2));
  await note("gets", "b", 3);
  await note("holds", "b", 3, held(2, 3));
  await peer.note("both", describeApi, 1, describe("cg-m"));
  await offsets(peer, topicId);
  await note("rejoins", "a", 0);
  await note("all there is to say", "a", 3, {
    rebalanceTimeoutMs: 60_000,
    subscribedTopicNames: ["cg"],
    ...held(0, 1),
  });
  await note("leaves", "b", -1);
  await note("left", "b", 3);
  await nextTarget();
  await note("gets all", "a", 3);
  await note("other topics", "a", 4, { subscribedTopicNames: ["cg-none"] });
  await peer.note("nothing to read", describeApi, 1, describe("cg-m"));
  await peer.note("busy", deleteGroupsApi, 2, { groupsNames: ["cg-m"] });
  await note("last leaves", "a", -1);
  await peer.note("empty", describeApi, 1, describe("cg-m"));
  await peer.every("gone", listGroupsApi, [4, 5], (version) =>
    version >= 5 ? { statesFilter: ["empty"], typesFilter: ["consumer"] } : { statesFilter: ["x"] },
  );
  await peer.note("empty", deleteGroupsApi, 2, { groupsNames: ["cg-m", "cg-m"] });
  await peer.note("deleted", describeApi, 1, describe("cg-m"));
}

async function offsets(peer: Peer, topicId: string): Promise<void> {
  const partitions = [0, 2].map((partitionIndex) => {
    return { partitionIndex, committedOffset: 5, committedMetadata: "" };
  });
  const commit = (memberId: string, epoch: number, version = 9) => ({
    groupId: "cg-m",
    memberId,
    generationIdOrMemberEpoch: epoch,
    topics: [version >= 10 ? { topicId, partitions } : { name: "cg", partitions }],
  });
  await peer.note("own and other's", offsetCommitApi, 9, commit("a", 3));
  await peer.note("own and other's", offsetCommitApi, 10, commit("a", 3, 10));
  await peer.note("old epoch", offsetCommitApi, 9, commit("a", 2));
  await peer.note("epoch ahead", offsetCommitApi, 9, commit("a", 4));
  await peer.note("stranger", offsetCommitApi, 9, commit("x", 3));
  await peer.note("nobody", offsetCommitApi, 9, commit("", -1));
  await peer.note("old version", offsetCommitApi, 8, commit("a", 3));
  const fetch = (memberId: string | null, memberEpoch: number) => ({
    groups: [{ groupId: "cg-m", memberId, memberEpoch, topics: null }],
  });
  await peer.note("member", offsetFetchApi, 9, fetch("a", 3));
  await peer.note("stale", offsetFetchApi, 9, fetch("a", 2));
  await peer.note("stranger", offsetFetchApi, 9, fetch("x", 2));
  await peer.note("nobody", offsetFetchApi, 9, fetch(null, -1));
  await peer.note("read topic", offsetDeleteApi, 0, {
    groupId: "cg-m",
    topics: [{ name: "cg", partitions: [{ partitionIndex: 0 }] }],
  });
  await peer.note("as classic", describeGroupsApi, 6, { groups: ["cg-m"] });
  await peer.note("as classic", describeGroupsApi, 5, { groups: ["cg-m"] });
  const strange = { groupId: "cg-m", memberId: "a", generationId: 3 };
  await peer.note("as classic", heartbeatApi, 4, strange);
  await peer.note("as classic", syncGroupApi, 5, { ...strange, assignments: [] });
  await peer.note("stranger", leaveGroupApi, 5, { groupId: "cg-m", members: [{ memberId: "x" }] });
}

async function statics(peer: Peer): Promise<void> {
  await warm(peer, "cg-ts");
  const note = (label: string, memberId: string, epoch: number, parts = {}) =>
    peer.note(label, beatApi, 1, beat("cg-s", memberId, epoch, { instanceId: "i", ...parts }));
  await note("first", "a", 0);
  await note("taken", "b", 0);
  await note("rejoins while here", "a", 0);
  await note("fenced", "b", 2);
  await note("unknown instance", "a", 2, { instanceId: "j" });
  await note("away", "a", -2);
  await peer.note("away", describeApi, 1, describe("cg-s"));
  await note("another comes", "b", 0);
  await note("the old one", "a", 2);
  await note("the old one leaves", "a", -1);
  await note("leaves", "b", -1);
  await note("unknown leaves", "b", -1);
}

async function classicMembers(peer: Peer): Promise<void> {
  await warm(peer, "cg-tc");
  const name = new TextEncoder().encode("cg-tc");
  const metadata = new Uint8Array([
    0,
    1,
    0,
    0,
    0,
    1,
    0,
    5,
    ...name,
    255,
    255,
    255,
    255,
    0,
    0,
    0,
    0,
  ]);
  const join = (memberId: string, parts = {}) => ({
    groupId: "cg-c",
    sessionTimeoutMs: 30_000,
    rebalanceTimeoutMs: 30_000,
    memberId,
    protocolType: "consumer",
    protocols: [{ name: "range", metadata }],
    ...parts,
  });
  await peer.note("first", beatApi, 1, beat("cg-c", "a", 0));
  await peer.note("other type", joinGroupApi, 9, join("k", { protocolType: "connect" }));
  await peer.note("no protocols", joinGroupApi, 9, join("k", { protocols: [] }));
  await nextTarget();
  await peer.note("joins", joinGroupApi, 9, join("k"));
  const k = { groupId: "cg-c", memberId: "k", generationId: 3 };
  const typed = { ...k, protocolType: "consumer", protocolName: "range", assignments: [] };
  await peer.note("other type", syncGroupApi, 5, { ...typed, protocolType: "connect" });
  await peer.note("other name", syncGroupApi, 5, { ...typed, protocolName: "x" });
  await peer.note("generation", syncGroupApi, 5, { ...typed, generationId: 1 });
  await peer.note("waits", syncGroupApi, 5, typed);
  await peer.note("waits", heartbeatApi, 4, k);
  await peer.note("generation", heartbeatApi, 4, { ...k, generationId: 7 });
  await peer.note("of the other protocol", beatApi, 1, beat("cg-c", "a", 2));
  await peer.note("revoked", beatApi, 1, beat("cg-c", "a", 2, { topicPartitions: [] }));
  await peer.note("is to rejoin", heartbeatApi, 4, k);
  await peer.note("rejoins", joinGroupApi, 9, join("k"));
  await peer.note("gets", syncGroupApi, 5, typed);
  await peer.note("mixed", describeApi, 1, describe("cg-c"));
  await peer.note("downgrade", beatApi, 1, beat("cg-c", "a", -1));
  await peer.note("classic now", describeApi, 1, describe("cg-c"));
  await peer.note("classic now", heartbeatApi, 4, k);
  await peer.note("rejoins", joinGroupApi, 9, join("k"));
  await peer.note("upgrade", beatApi, 1, beat("cg-c", "b", 0));
  await peer.note("of another type", beatApi, 1, beat("cg-c", "", 3));
  // Nobody is left whose state the time changes.
  await peer.ask(beatApi, 1, beat("cg-c", "b", -1));
  await peer.ask(leaveGroupApi, 5, { groupId: "cg-c", members: [{ memberId: "k" }] });
}

async function configs(peer: Peer): Promise<void> {
  const session = "consumer.session.timeout.ms";
  const alter = (name: string, value: string | null, resourceName = "cg-conf", operation = 0) => ({
    resources: [
      {
        resourceType: 32,
        resourceName,
        configs: [{ name, configOperation: operation, value }],
      },
    ],
    validateOnly: false,
  });
  const note = (label: string, request: ReturnType<typeof alter>) =>
    peer.note(label, incrementalAlterConfigsApi, 1, request);
  const keys = [session, "consumer.heartbeat.interval.ms", "consumer.assignment.interval.ms"];
  const look = (resourceName: string) => ({
    resources: [{ resourceType: 32, resourceName, configurationKeys: keys }],
    includeSynonyms: true,
    includeDocumentation: false,
  });
  await peer.note("defaults", describeConfigsApi, 4, look("cg-conf"));
  await peer.note("no name", describeConfigsApi, 4, look(""));
  await note("unknown", alter("consumer.nope", "1"));
  await note("no number", alter(session, "x"));
  await note("too short", alter(session, "44999"));
  await note("too long", alter(session, "60001"));
  await note("no name", alter(session, "50000", ""));
  await note("no list", alter(session, "50000", "cg-conf", 2));
  await note("good", alter(session, "50000"));
  await peer.note("one set", describeConfigsApi, 4, look("cg-conf"));
  await note("removed", alter(session, null, "cg-conf", 1));
}

export const consumerGroupCases: Readonly<Record<string, Case>> = {
  "consumer-group-senseless": senseless,
  "consumer-group-members": members,
  "consumer-group-statics": statics,
  "consumer-group-classic": classicMembers,
  "consumer-group-configs": configs,
};
