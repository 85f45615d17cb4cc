import { offsetCommitApi } from "../../src/protocol/messages/08-offset-commit.ts";
import { offsetFetchApi } from "../../src/protocol/messages/09-offset-fetch.ts";
import { joinGroupApi } from "../../src/protocol/messages/11-join-group.ts";
import { heartbeatApi } from "../../src/protocol/messages/12-heartbeat.ts";
import { leaveGroupApi } from "../../src/protocol/messages/13-leave-group.ts";
import { describeGroupsApi } from "../../src/protocol/messages/15-describe-groups.ts";
import { deleteGroupsApi } from "../../src/protocol/messages/42-delete-groups.ts";
import { offsetDeleteApi } from "../../src/protocol/messages/47-offset-delete.ts";
import {
  consumerGroupHeartbeatApi as beatApi,
  type ConsumerGroupHeartbeatRequest,
} from "../../src/protocol/messages/68-consumer-group-heartbeat.ts";
import { consumerGroupDescribeApi } from "../../src/protocol/messages/69-consumer-group-describe.ts";
import { shareGroupHeartbeatApi } from "../../src/protocol/messages/76-share-group-heartbeat.ts";
import type { Case, Peer } from "./peer.ts";
import { unknownId } from "./schema-values.ts";
import { create } from "./topic-cases.ts";

/** Groups that are asked for what they cannot do: names, metadata, members, other protocols. */

const hostile: Readonly<Record<string, string>> = {
  empty: "",
  umlaut: "ü ö/ß\u0000",
  emoji: "😀",
  dots: "..",
  slashes: "../../etc/passwd",
};

async function names(peer: Peer): Promise<void> {
  await create(peer, "mg");
  for (const [label, groupId] of Object.entries(hostile)) {
    await peer.every(label, offsetCommitApi, [2, 9], () => commit(groupId, "m"));
    await peer.note(label, offsetFetchApi, 7, {
      groupId,
      topics: [{ name: "mg", partitionIndexes: [0] }],
    });
    await peer.note(label, heartbeatApi, 4, { groupId, memberId: "x", generationId: 1 });
    await peer.note(label, beatApi, 1, beat(groupId, "x", 5));
    await peer.note(label, describeGroupsApi, 5, { groups: [groupId] });
    await peer.note(label, deleteGroupsApi, 2, { groupsNames: [groupId] });
    await peer.note(`${label} again`, deleteGroupsApi, 2, { groupsNames: [groupId] });
  }
}

function commit(groupId: string, committedMetadata: string | null, parts: object = {}) {
  return {
    groupId,
    generationIdOrMemberEpoch: -1,
    memberId: "",
    topics: [
      { name: "mg", partitions: [{ partitionIndex: 0, committedOffset: 5, committedMetadata }] },
    ],
    ...parts,
  };
}

/** offset.metadata.max.bytes is 4096: bytes or characters, and what the rest of a commit hears. */
async function metadata(peer: Peer): Promise<void> {
  await create(peer, "mg", { numPartitions: 3 });
  const texts = [4095, 4096, 4097].map((length) => "m".repeat(length));
  const wide = [1365, 1366, 2048, 4096, 4097].map((length) => "€".repeat(length));
  for (const text of [...texts, ...wide]) {
    const label = `${text.length} times ${text[0]}`;
    await peer.every(label, offsetCommitApi, [2, 9], () => commit("mg-meta", text));
  }
  const partitions = ["m", "m".repeat(5000), null].map((committedMetadata, partitionIndex) => ({
    partitionIndex,
    committedOffset: 9,
    committedMetadata,
  }));
  const mixed = { topics: [{ name: "mg", partitions }] };
  await peer.note("one of three too long", offsetCommitApi, 9, commit("mg-meta", "", mixed));
  await peer.note("then", offsetFetchApi, 7, { groupId: "mg-meta", topics: null });
  const odd = [-2, -1, 0, Number.MAX_SAFE_INTEGER].map((committedOffset) => ({
    name: "mg",
    partitions: [{ partitionIndex: 1, committedOffset, committedMetadata: "" }],
  }));
  for (const topic of odd) {
    const label = `offset ${topic.partitions[0]?.committedOffset}`;
    await peer.note(label, offsetCommitApi, 9, commit("mg-meta", "", { topics: [topic] }));
  }
  await peer.note("then again", offsetFetchApi, 7, { groupId: "mg-meta", topics: null });
  await peer.note("by unknown and known id", offsetCommitApi, 10, {
    ...commit("mg-meta", ""),
    topics: [unknownId, "AAAAAAAAAAAAAAAAAAAAAA"].map((topicId) => ({
      topicId,
      partitions: [{ partitionIndex: 0, committedOffset: 1, committedMetadata: "" }],
    })),
  });
}

/** Offsets and groups that may not be deleted now, or are not there. */
async function deletions(peer: Peer): Promise<void> {
  await create(peer, "mg", { numPartitions: 2 });
  const joining = {
    groupId: "mg-d",
    sessionTimeoutMs: 30_000,
    rebalanceTimeoutMs: 3000,
    memberId: "",
    protocolType: "consumer",
    protocols: [{ name: "range", metadata: subscription("mg") }],
  };
  const { memberId, generationId } = await peer.ask(joinGroupApi, 3, joining);
  const own = { memberId, generationIdOrMemberEpoch: generationId };
  await peer.note("own", offsetCommitApi, 8, commit("mg-d", "", own));
  const remove = (
    label: string,
    groupId: string,
    topics: readonly (readonly [string, number[]])[],
  ) =>
    peer.note(label, offsetDeleteApi, 0, {
      groupId,
      topics: topics.map(([name, indexes]) => ({
        name,
        partitions: indexes.map((partitionIndex) => ({ partitionIndex })),
      })),
    });
  await remove("of a read topic", "mg-d", [["mg", [0]]]);
  await remove("of an unknown group", "mg-none", [["mg", [0]]]);
  await remove("of no topics", "mg-d", []);
  await remove("of no partitions", "mg-d", [["mg", []]]);
  await remove("of an unknown topic", "mg-d", [["mg-none", [0]]]);
  await peer.every("with members", deleteGroupsApi, [0, 2], () => ({
    groupsNames: ["mg-d", "mg-none", ""],
  }));
  await peer.note("nothing", deleteGroupsApi, 2, { groupsNames: [] });
  await peer.every("then", describeGroupsApi, [0, 6], () => ({ groups: ["mg-d"] }));
  await peer.ask(leaveGroupApi, 5, { groupId: "mg-d", members: [{ memberId }] });
}

/** A consumer's subscription to one topic, version 1, as clients send it. */
function subscription(topic: string): Uint8Array {
  const name = new TextEncoder().encode(topic);
  return new Uint8Array([
    0,
    1,
    0,
    0,
    0,
    1,
    0,
    name.length,
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
}

function beat(
  groupId: string,
  memberId: string,
  memberEpoch: number,
  parts: Partial<ConsumerGroupHeartbeatRequest> = {},
): ConsumerGroupHeartbeatRequest {
  const joins = { rebalanceTimeoutMs: 60_000, subscribedTopicNames: ["mg"], topicPartitions: [] };
  return { groupId, memberId, memberEpoch, ...(memberEpoch === 0 ? joins : {}), ...parts };
}

/** Members of the consumer protocol that say too much, too little or too late. */
async function consumers(peer: Peer): Promise<void> {
  const topicId = await create(peer, "mg", { numPartitions: 2 });
  const note = (label: string, memberId: string, epoch: number, parts = {}) =>
    peer.note(label, beatApi, 1, beat("mg-c", memberId, epoch, parts));
  const describe = (label: string) =>
    peer.note(label, consumerGroupDescribeApi, 1, {
      groupIds: ["mg-c"],
      includeAuthorizedOperations: false,
    });
  await note("nobody there", "a", 1);
  await note("empty set of topics", "a", 0, { subscribedTopicNames: [] });
  await describe("one without topics");
  await note("unknown topics", "a", 1, { subscribedTopicNames: ["mg-none", "mg-no", "mg-none"] });
  await note("an expression", "a", 2, { subscribedTopicRegex: "mg.*" });
  await note("a bad expression", "a", 2, { subscribedTopicRegex: "[" });
  await note("no expression again", "a", 2, { subscribedTopicRegex: "" });
  await note("an unknown assignor", "a", 2, { serverAssignor: "sticky" });
  await note("a known assignor", "a", 2, { serverAssignor: "range" });
  await note("timeout 0", "b", 0, { rebalanceTimeoutMs: 0 });
  await note("timeout -5", "b", 0, { rebalanceTimeoutMs: -5 });
  await note("holds what it does not", "a", 2, {
    topicPartitions: [{ topicId, partitions: [0, 1, 7] }],
  });
  await note("holds of an unknown topic", "a", 2, {
    topicPartitions: [{ topicId: unknownId, partitions: [0] }],
  });
  await note("epoch far ahead", "a", 99);
  await note("epoch -2, not static", "a", -2);
  await note("instance while dynamic", "a", 2, { instanceId: "i" });
  await note("member id of 37", "x".repeat(37), 0);
  await peer.note("share member in it", shareGroupHeartbeatApi, 1, {
    groupId: "mg-c",
    memberId: "AAAAAAAAAAAAAAAAAAAB7w",
    memberEpoch: 0,
    subscribedTopicNames: ["mg"],
  });
  await peer.note("classic member in it, other type", joinGroupApi, 9, {
    groupId: "mg-c",
    sessionTimeoutMs: 30_000,
    rebalanceTimeoutMs: 3000,
    memberId: "",
    protocolType: "connect",
    protocols: [{ name: "range", metadata: subscription("mg") }],
  });
  await peer.note("with members", deleteGroupsApi, 2, { groupsNames: ["mg-c"] });
  await note("leaves", "a", -1);
  await note("is gone", "a", 3);
  for (const memberId of ["b", "x".repeat(37)]) {
    await peer.ask(beatApi, 1, beat("mg-c", memberId, -1));
  }
}

export const moreGroupCases: Readonly<Record<string, Case>> = {
  "group-names": names,
  "group-metadata": metadata,
  "group-deletions": deletions,
  "group-consumers": consumers,
};
