import { ErrorCode } from "../../src/protocol/error-code.ts";
import { produceApi } from "../../src/protocol/messages/00-produce.ts";
import { findCoordinatorApi } from "../../src/protocol/messages/10-find-coordinator.ts";
import { deleteGroupsApi } from "../../src/protocol/messages/42-delete-groups.ts";
import { incrementalAlterConfigsApi } from "../../src/protocol/messages/44-incremental-alter-configs.ts";
import { consumerGroupHeartbeatApi } from "../../src/protocol/messages/68-consumer-group-heartbeat.ts";
import {
  shareGroupHeartbeatApi as beatApi,
  type ShareGroupHeartbeatRequest,
} from "../../src/protocol/messages/76-share-group-heartbeat.ts";
import { shareGroupDescribeApi as describeApi } from "../../src/protocol/messages/77-share-group-describe.ts";
import { shareFetchApi } from "../../src/protocol/messages/78-share-fetch.ts";
import { shareAcknowledgeApi } from "../../src/protocol/messages/79-share-acknowledge.ts";
import { describeShareGroupOffsetsApi } from "../../src/protocol/messages/90-describe-share-group-offsets.ts";
import { alterShareGroupOffsetsApi } from "../../src/protocol/messages/91-alter-share-group-offsets.ts";
import { deleteShareGroupOffsetsApi } from "../../src/protocol/messages/92-delete-share-group-offsets.ts";
import { zeroUuid } from "../../src/protocol/uuid.ts";
import { batch, produceOf } from "./data-cases.ts";
import type { Case, Peer } from "./peer.ts";
import { unknownId } from "./schema-values.ts";
import { create } from "./topic-cases.ts";

/** Share groups (KIP-932). Member ids are UUIDs that the members choose. */

const member = "AAAAAAAAAAAAAAAAAAAB7w";
const other = "AAAAAAAAAAAAAAAAAAAB8A";

function beat(
  groupId: string,
  memberId: string,
  memberEpoch: number,
  parts: Partial<ShareGroupHeartbeatRequest> = {},
): ShareGroupHeartbeatRequest {
  const joins = memberEpoch === 0 ? { subscribedTopicNames: [groupId] } : {};
  return { groupId, memberId, memberEpoch, ...joins, ...parts };
}

async function earliest(peer: Peer, groupId: string): Promise<void> {
  const configs = [{ name: "share.auto.offset.reset", configOperation: 0, value: "earliest" }];
  await peer.ask(incrementalAlterConfigsApi, 1, {
    resources: [{ resourceType: 32, resourceName: groupId, configs }],
    validateOnly: false,
  });
}

/** Joins, and beats until all partitions are assigned. */
async function joined(peer: Peer, groupId: string, memberId: string): Promise<number> {
  let epoch = 0;
  for (let tries = 0; tries < 200; tries++) {
    const answer = await peer.ask(beatApi, 1, beat(groupId, memberId, epoch));
    if (answer.errorCode === ErrorCode.NONE) epoch = answer.memberEpoch;
    if ((answer.assignment?.topicPartitions.length ?? 0) > 0) return epoch;
    await Bun.sleep(50);
  }
  throw new Error(`no partitions for ${groupId}`);
}

async function heartbeats(peer: Peer): Promise<void> {
  await create(peer, "sh-b", { numPartitions: 2 });
  const note = (label: string, memberId: string, epoch: number, parts = {}) =>
    peer.note(label, beatApi, 1, beat("sh-b", memberId, epoch, parts));
  const describe = (label: string, ...groupIds: string[]) =>
    peer.note(label, describeApi, 1, { groupIds, includeAuthorizedOperations: false });
  await create(peer, "sh-warm");
  await joined(peer, "sh-warm", member);
  await note("unknown group", member, 1);
  await note("unknown group leaves", member, -1);
  await note("no group", member, 0, { groupId: "" });
  await note("no member id", "", 0);
  await note("member id of 36", "x".repeat(36), 0);
  await note("member id of 37", "x".repeat(37), 0);
  await note("no topics", member, 0, { subscribedTopicNames: null });
  await note("no topics at all", member, 0, { subscribedTopicNames: [] });
  await note("empty rack", member, 0, { rackId: "" });
  await note("epoch -2", member, -2);
  await note("epoch -3", member, -3);
  await describe("unknown", "sh-none", "", "sh-b");
  const epoch = await joined(peer, "sh-b", member);
  await describe("one", "sh-b");
  await note("ahead", member, epoch + 5);
  await note("stranger", other, 1);
  await note("stranger leaves", other, -1);
  await note("topics not there", member, epoch, { subscribedTopicNames: ["sh-none"] });
  await note("joins again", member, 0);
  await peer.note("busy", deleteGroupsApi, 2, { groupsNames: ["sh-b"] });
  await peer.note("of another type", consumerGroupHeartbeatApi, 1, {
    ...beat("sh-b", member, 0),
    rebalanceTimeoutMs: 1000,
    topicPartitions: [],
  });
  await note("leaves", member, -1);
  await note("leaves again", member, -1);
  await describe("empty", "sh-b");
  await peer.note("empty", deleteGroupsApi, 2, { groupsNames: ["sh-b", "sh-b"] });
  await describe("deleted", "sh-b");
  await peer.ask(beatApi, 1, beat("sh-b", "x".repeat(36), -1));
  await peer.ask(beatApi, 1, beat("sh-warm", member, -1));
}

interface Acknowledged {
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly acknowledgeTypes: number[];
}

/** One partition of one topic, whatever is said about it. */
function about(topicId: string, acknowledgementBatches: Acknowledged[] = [], partitionIndex = 0) {
  return [{ topicId, partitions: [{ partitionIndex, acknowledgementBatches }] }];
}

const limits = { maxWaitMs: 100, minBytes: 1, maxBytes: 1 << 20, maxRecords: 100, batchSize: 100 };

async function sessions(peer: Peer): Promise<void> {
  const topicId = await create(peer, "sh-s", { numPartitions: 2 });
  await earliest(peer, "sh-s");
  await joined(peer, "sh-s", member);
  const fetch = (label: string, shareSessionEpoch: number, parts: object = {}) =>
    peer.note(label, shareFetchApi, 1, {
      groupId: "sh-s",
      memberId: member,
      shareSessionEpoch,
      ...limits,
      topics: about(topicId),
      forgottenTopicsData: [],
      ...parts,
    });
  const acknowledge = (label: string, shareSessionEpoch: number, parts: object = {}) =>
    peer.note(label, shareAcknowledgeApi, 1, {
      groupId: "sh-s",
      memberId: member,
      shareSessionEpoch,
      topics: about(topicId, [{ firstOffset: 0, lastOffset: 0, acknowledgeTypes: [1] }]),
      ...parts,
    });
  await fetch("no session yet, epoch 1", 1);
  await fetch("no session yet, last", -1);
  await acknowledge("no session yet, epoch 1", 1);
  await acknowledge("no session yet, epoch 0", 0);
  await acknowledge("no session yet, last", -1);
  await fetch("no group", 0, { groupId: "" });
  await fetch("null group", 0, { groupId: null });
  await fetch("no member", 0, { memberId: "" });
  await fetch("null member", 0, { memberId: null });
  await fetch("member that is no UUID", 0, { memberId: "x" });
  await fetch("begins with acknowledgements", 0, {
    topics: about(topicId, [{ firstOffset: 0, lastOffset: 0, acknowledgeTypes: [1] }]),
  });
  await fetch("begins", 0);
  await fetch("goes on", 1);
  await fetch("epoch repeated", 1);
  await fetch("epoch ahead", 9);
  await fetch("unknown topic id", 2, { topics: about(unknownId) });
  await fetch("zero topic id", 3, { topics: about(zeroUuid) });
  await fetch("unknown index", 4, { topics: about(topicId, [], 9) });
  await fetch("forgets", 5, {
    topics: [],
    forgottenTopicsData: [
      { topicId: unknownId, partitions: [0] },
      { topicId, partitions: [9] },
    ],
  });
  await acknowledge("epoch behind", 1);
  await acknowledge("nothing acquired", 6);
  await acknowledge("ends", -1);
  await acknowledge("ended", 7);
  await fetch("ended", 7);
  await fetch("begins again", 0);
  await fetch("begins once more", 0);
  await fetch("ends", -1, { topics: [] });
  await peer.ask(beatApi, 1, beat("sh-s", member, -1));
}

/** Acknowledgements of what was acquired, and of what was not. */
async function acknowledgements(peer: Peer): Promise<void> {
  const topicId = await create(peer, "sh-a");
  await earliest(peer, "sh-a");
  await joined(peer, "sh-a", member);
  await peer.ask(produceApi, 9, produceOf("sh-a", batch({ count: 20 })));
  let epoch = 0;
  const fetch = async (label: string, batches: Acknowledged[] = []) => {
    await peer.note(label, shareFetchApi, 1, {
      groupId: "sh-a",
      memberId: member,
      shareSessionEpoch: epoch++,
      ...limits,
      topics: about(topicId, batches),
      forgottenTopicsData: [],
    });
  };
  const note = async (label: string, ...batches: [number, number, number[]][]) => {
    const said = batches.map(([firstOffset, lastOffset, acknowledgeTypes]) => {
      return { firstOffset, lastOffset, acknowledgeTypes };
    });
    const answer = await peer.note(label, shareAcknowledgeApi, 1, {
      groupId: "sh-a",
      memberId: member,
      shareSessionEpoch: epoch,
      topics: about(topicId, said),
    });
    if (answer?.errorCode === ErrorCode.NONE) epoch += 1;
  };
  await awaitRecords(peer, topicId);
  await fetch("begins");
  await note("no batches");
  await note("no types", [0, 0, []]);
  await note("type 9", [0, 0, [9]]);
  await note("type -1", [0, 0, [-1]]);
  await note("type renew, too old", [0, 0, [4]]);
  await note("last before first", [3, 2, [1]]);
  await note("negative", [-2, -1, [1]]);
  await note("too many types", [0, 1, [1, 1, 1]]);
  await note("too few types", [0, 2, [1, 1]]);
  await note("overlapping", [0, 2, [1]], [2, 3, [1]]);
  await note("out of order", [4, 5, [1]], [2, 3, [1]]);
  await note("twice", [0, 0, [1]], [0, 0, [1]]);
  await note("past the end", [18, 25, [1]]);
  await note("far", [1000, 1001, [1]]);
  await note("half there", [15, 30, [1]]);
  await note("each its own", [0, 3, [1, 2, 3, 0]]);
  await note("again", [0, 0, [1]]);
  await note("released, again", [1, 1, [1]]);
  await note("gap in the middle", [4, 6, [0]]);
  await note("rejected", [7, 7, [3]]);
  await note("accepted", [8, 9, [1]]);
  await fetch("the rest and what came back", [
    { firstOffset: 10, lastOffset: 10, acknowledgeTypes: [7] },
  ]);
  await fetch("with a batch", [{ firstOffset: 11, lastOffset: 12, acknowledgeTypes: [1] }]);
  await offsets(peer, "open");
  await peer.note("other member", shareAcknowledgeApi, 1, {
    groupId: "sh-a",
    memberId: other,
    shareSessionEpoch: 1,
    topics: about(topicId, [{ firstOffset: 13, lastOffset: 13, acknowledgeTypes: [1] }]),
  });
  await peer.note("leaves", beatApi, 1, beat("sh-a", member, -1));
}

/** The partition's share state is made on the way: until it is, nothing is acquired. */
async function awaitRecords(peer: Peer, topicId: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const ask = (shareSessionEpoch: number, batches: Acknowledged[] = []) =>
      peer.ask(shareFetchApi, 1, {
        groupId: "sh-a",
        memberId: member,
        shareSessionEpoch,
        ...limits,
        topics: about(topicId, batches),
        forgottenTopicsData: [],
      });
    const { responses } = await ask(0);
    const acquired = responses[0]?.partitions[0]?.acquiredRecords ?? [];
    // What was acquired goes back when the session ends.
    await ask(-1);
    if (acquired.length > 0) return;
    await Bun.sleep(50);
  }
  throw new Error("nothing to acquire");
}

async function offsets(peer: Peer, label: string): Promise<void> {
  for (const version of [0, 1]) {
    await peer.note(label, describeShareGroupOffsetsApi, version, {
      groups: [
        { groupId: "sh-a", topics: [{ topicName: "sh-none", partitions: [0] }] },
        { groupId: "sh-none", topics: [{ topicName: "sh-a", partitions: [0] }] },
        { groupId: "sh-none", topics: null },
      ],
    });
  }
  const alter = (groupId: string, topicName: string, partitionIndex: number, startOffset: number) =>
    peer.note(`${label}: ${groupId} ${topicName} ${partitionIndex}`, alterShareGroupOffsetsApi, 0, {
      groupId,
      topics: [{ topicName, partitions: [{ partitionIndex, startOffset }] }],
    });
  await alter("sh-a", "sh-a", 0, 3);
  await alter("sh-none", "sh-a", 0, 3);
  await alter("", "sh-a", 0, 3);
  const remove = (groupId: string, ...names: string[]) =>
    peer.note(`${label}: ${groupId} ${names}`, deleteShareGroupOffsetsApi, 0, {
      groupId,
      topics: names.map((topicName) => ({ topicName })),
    });
  await remove("sh-a", "sh-a", "sh-none");
  await remove("sh-none", "sh-a");
  await remove("", "sh-a");
}

async function emptyGroup(peer: Peer): Promise<void> {
  await create(peer, "sh-e", { numPartitions: 2 });
  await joined(peer, "sh-e", member);
  await peer.ask(beatApi, 1, beat("sh-e", member, -1));
  const alter = (label: string, topicName: string, partitionIndex: number, startOffset: number) =>
    peer.note(label, alterShareGroupOffsetsApi, 0, {
      groupId: "sh-e",
      topics: [{ topicName, partitions: [{ partitionIndex, startOffset }] }],
    });
  await alter("set", "sh-e", 0, 3);
  await alter("unknown topic", "sh-none", 0, 3);
  await alter("unknown index", "sh-e", 9, 3);
  const remove = (label: string, ...names: string[]) =>
    peer.note(label, deleteShareGroupOffsetsApi, 0, {
      groupId: "sh-e",
      topics: names.map((topicName) => ({ topicName })),
    });
  await peer.note("all", describeShareGroupOffsetsApi, 1, {
    groups: [{ groupId: "sh-e", topics: null }],
  });
  await remove("unknown topic", "sh-none");
  await remove("nothing");
  await remove("set", "sh-e");
  await remove("again", "sh-e");
  await peer.note("none", describeShareGroupOffsetsApi, 1, {
    groups: [{ groupId: "sh-e", topics: null }],
  });
}

/** Keys of share partitions: `GROUP:TOPIC_ID:PARTITION`, where groups may hold colons. */
async function coordinators(peer: Peer): Promise<void> {
  const topicId = await create(peer, "sh-k");
  const ask = (key: string, version = 6) =>
    peer.ask(findCoordinatorApi, version, { coordinatorKeys: [key], keyType: 2 });
  for (let tries = 0; tries < 200; tries++) {
    const { coordinators: found } = await ask(`sh-k:${topicId}:0`);
    if (found[0]?.errorCode !== ErrorCode.COORDINATOR_NOT_AVAILABLE) break;
    await Bun.sleep(50);
  }
  const keys = {
    good: `sh-k:${topicId}:0`,
    "another partition": `sh-k:${topicId}:7`,
    "unknown topic": `sh-k:${unknownId}:0`,
    "no group": `:${topicId}:0`,
    "group with colons": `sh:k:${topicId}:0`,
    "no partition": `sh-k:${topicId}`,
    "no number": `sh-k:${topicId}:x`,
    negative: `sh-k:${topicId}:-1`,
    "no id": "sh-k:x:0",
    nothing: "",
    colons: ":::",
  };
  for (const [label, key] of Object.entries(keys)) {
    const answer = await ask(key);
    peer.add(`FindCoordinator v6 share partition, ${label}`, {
      coordinators: answer.coordinators.map((one) => ({ ...one, key: one.key === key })),
    });
  }
}

export const shareCases: Readonly<Record<string, Case>> = {
  "share-coordinators": coordinators,
  "share-heartbeats": heartbeats,
  "share-sessions": sessions,
  "share-acknowledgements": acknowledgements,
  "share-offsets": emptyGroup,
};
