import { offsetCommitApi } from "../../src/protocol/messages/08-offset-commit.ts";
import { offsetFetchApi } from "../../src/protocol/messages/09-offset-fetch.ts";
import { findCoordinatorApi } from "../../src/protocol/messages/10-find-coordinator.ts";
import { joinGroupApi } from "../../src/protocol/messages/11-join-group.ts";
import { heartbeatApi } from "../../src/protocol/messages/12-heartbeat.ts";
import { leaveGroupApi } from "../../src/protocol/messages/13-leave-group.ts";
import { syncGroupApi } from "../../src/protocol/messages/14-sync-group.ts";
import { describeGroupsApi } from "../../src/protocol/messages/15-describe-groups.ts";
import { listGroupsApi } from "../../src/protocol/messages/16-list-groups.ts";
import { deleteGroupsApi } from "../../src/protocol/messages/42-delete-groups.ts";
import { offsetDeleteApi } from "../../src/protocol/messages/47-offset-delete.ts";
import type { Case, Peer } from "./peer.ts";
import { create } from "./topic-cases.ts";

const unknownId = "AAAAAAAAAAAAAAAAAAAAZg";

async function coordinator(peer: Peer): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const found = await peer.ask(findCoordinatorApi, 3, { key: "warm", keyType: 0 });
    if (found.errorCode === 0) break;
    await Bun.sleep(50);
  }
  await peer.every("group", findCoordinatorApi, [0, 3], () => ({ key: "g" }));
  await peer.every("groups", findCoordinatorApi, [4, 6], () => ({
    coordinatorKeys: ["g", "", "h", "g"],
  }));
  for (const keyType of [1, 2, 3, -1]) {
    await peer.note(`type ${keyType}`, findCoordinatorApi, 3, { key: "x", keyType });
    await peer.note(`type ${keyType}`, findCoordinatorApi, 6, { coordinatorKeys: ["x"], keyType });
  }
  await peer.note("no keys", findCoordinatorApi, 6, { coordinatorKeys: [] });
  await peer.note("empty", findCoordinatorApi, 3, { key: "" });
}

const protocols = (...names: string[]) =>
  names.map((name) => ({ name, metadata: new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) }));

function join(groupId: string, memberId = "", parts: object = {}) {
  return {
    groupId,
    sessionTimeoutMs: 30_000,
    rebalanceTimeoutMs: 3000,
    memberId,
    protocolType: "consumer",
    protocols: protocols("range"),
    ...parts,
  };
}

async function member(peer: Peer, groupId: string): Promise<{ id: string; generation: number }> {
  for (let tries = 0; ; tries++) {
    const joined = await peer.ask(joinGroupApi, 3, join(groupId));
    if (joined.errorCode === 0) return { id: joined.memberId, generation: joined.generationId };
    if (tries > 100) throw new Error(`cannot join ${groupId}: ${joined.errorCode}`);
    await Bun.sleep(50);
  }
}

async function groups(peer: Peer): Promise<void> {
  const { id, generation } = await member(peer, "gr");
  const sync = (memberId: string, generationId: number, parts: object = {}) => ({
    groupId: "gr",
    generationId,
    memberId,
    assignments: [{ memberId: id, assignment: new Uint8Array([1, 2]) }],
    ...parts,
  });
  const beat = { groupId: "gr", generationId: generation, memberId: id };
  await peer.note("before sync", heartbeatApi, 4, beat);
  await peer.note("commit before sync", offsetCommitApi, 8, commit("gr", "gr-t", id, generation));
  await peer.note("stranger", syncGroupApi, 5, sync("x", generation));
  await peer.note("old generation", syncGroupApi, 5, sync(id, generation - 1));
  const named = { protocolType: "consumer", protocolName: "range" };
  const other = { protocolType: "connect", protocolName: "range" };
  await peer.note("no protocol", syncGroupApi, 5, sync(id, generation));
  await peer.note("other type", syncGroupApi, 5, sync(id, generation, other));
  await peer.note("other name", syncGroupApi, 5, {
    ...sync(id, generation, { ...named, protocolName: "x" }),
  });
  await peer.note("good", syncGroupApi, 5, sync(id, generation, named));
  await peer.every("good", syncGroupApi, [0, 4], () => sync(id, generation));
  await peer.note("no such group", syncGroupApi, 5, { ...sync(id, 1, named), groupId: "gr-none" });
  await peer.note("no group", syncGroupApi, 5, { ...sync(id, 1, named), groupId: "" });
  await peer.every("good", heartbeatApi, [0, 4], () => beat);
  await peer.note("stranger", heartbeatApi, 4, { ...beat, memberId: "x" });
  await peer.note("generation", heartbeatApi, 4, { ...beat, generationId: 9 });
  await peer.note("no such group", heartbeatApi, 4, { ...beat, groupId: "gr-none" });
  await peer.note("no group", heartbeatApi, 4, { ...beat, groupId: "" });
  await peer.note("instance", heartbeatApi, 4, { ...beat, groupInstanceId: "i" });
  await joins(peer, id);
  await peer.every("stable", describeGroupsApi, [0, 6], () => ({ groups: ["gr", "gr-none", ""] }));
  await peer.note("busy", deleteGroupsApi, 2, { groupsNames: ["gr", "gr-none", "", "gr"] });
  await leaves(peer, id);
  await peer.every("empty", describeGroupsApi, [5, 6], () => ({ groups: ["gr"] }));
  await peer.note("beat of one who left", heartbeatApi, 4, beat);
  await peer.note("empty", deleteGroupsApi, 2, { groupsNames: ["gr"] });
  await peer.note("again", deleteGroupsApi, 2, { groupsNames: ["gr"] });
}

async function joins(peer: Peer, id: string): Promise<void> {
  const api = joinGroupApi;
  await peer.note("no group", api, 9, join(""));
  await peer.note("short session", api, 9, join("gr-j", "", { sessionTimeoutMs: 10 }));
  await peer.note("long session", api, 9, join("gr-j", "", { sessionTimeoutMs: 9_000_000 }));
  await peer.note("stranger", api, 9, join("gr", "x"));
  await peer.note("stranger, no group yet", api, 9, join("gr-none", "x"));
  await peer.note("other type", api, 3, join("gr", "", { protocolType: "connect" }));
  await peer.note("other protocols", api, 3, join("gr", "", { protocols: protocols("x") }));
  await peer.note("no protocols", api, 3, join("gr", "", { protocols: [] }));
  await peer.note("no protocols, no group yet", api, 3, join("gr-j", "", { protocols: [] }));
  await peer.note("no type, no group yet", api, 3, join("gr-j", "", { protocolType: "" }));
  await peer.note("id required", api, 4, join("gr-ids"));
  const later = join("gr", id, { groupInstanceId: "i" });
  await peer.note("unknown instance", api, 9, later);
}

async function leaves(peer: Peer, id: string): Promise<void> {
  const api = leaveGroupApi;
  await peer.note("stranger", api, 2, { groupId: "gr", memberId: "x" });
  await peer.note("no such group", api, 2, { groupId: "gr-none", memberId: "x" });
  await peer.note("no group", api, 2, { groupId: "", memberId: "x" });
  const members = [
    { memberId: "x" },
    { memberId: "", groupInstanceId: "i" },
    { memberId: id, groupInstanceId: "j" },
    { memberId: id },
    { memberId: id },
  ];
  await peer.note("no such group", api, 5, { groupId: "gr-none", members });
  await peer.note("nobody", api, 5, { groupId: "gr", members: [] });
  await peer.note("five", api, 5, { groupId: "gr", members });
}

async function staticMember(peer: Peer): Promise<void> {
  const first = join("gs", "", { groupInstanceId: "i" });
  const one = await peer.note("first", joinGroupApi, 5, first);
  const generationId = one?.generationId ?? -1;
  const memberId = one?.memberId ?? "";
  const sync = { groupId: "gs", generationId, assignments: [] };
  await peer.note("first", syncGroupApi, 3, { ...sync, memberId, groupInstanceId: "i" });
  const two = await peer.note("again", joinGroupApi, 5, first);
  const generation = two?.generationId ?? -1;
  const beat = { groupId: "gs", generationId: generation, groupInstanceId: "i" };
  await peer.note("fenced", heartbeatApi, 3, { ...beat, memberId });
  await peer.note("fenced", syncGroupApi, 3, {
    ...sync,
    generationId: generation,
    memberId,
    groupInstanceId: "i",
  });
  await peer.note("fenced", joinGroupApi, 5, join("gs", memberId, { groupInstanceId: "i" }));
  await peer.note("fenced", offsetCommitApi, 8, {
    ...commit("gs", "gr-t", memberId, generation),
    groupInstanceId: "i",
  });
  await peer.note("fenced", leaveGroupApi, 4, {
    groupId: "gs",
    members: [{ memberId, groupInstanceId: "i" }],
  });
  await peer.note("good", heartbeatApi, 3, { ...beat, memberId: two?.memberId ?? "" });
  await peer.note("by instance", leaveGroupApi, 4, {
    groupId: "gs",
    members: [{ memberId: "", groupInstanceId: "i" }],
  });
}

function commit(groupId: string, name: string, memberId = "", generation = -1, parts: object = {}) {
  const partition = { partitionIndex: 0, committedOffset: 5, committedMetadata: "m", ...parts };
  return {
    groupId,
    generationIdOrMemberEpoch: generation,
    memberId,
    topics: [{ name, partitions: [partition] }],
  };
}

async function offsets(peer: Peer): Promise<void> {
  const id = await create(peer, "of", { numPartitions: 2 });
  await member(peer, "of-warm");
  const api = offsetCommitApi;
  await peer.every("simple", api, [2, 9], () => commit("of-g", "of"));
  await peer.note("by id", api, 10, {
    ...commit("of-g", "of"),
    topics: [{ topicId: id, partitions: commit("", "").topics[0]!.partitions }],
  });
  await peer.note("by unknown id", api, 10, {
    ...commit("of-g", "of"),
    topics: [{ topicId: unknownId, partitions: commit("", "").topics[0]!.partitions }],
  });
  await peer.note("no such topic", api, 9, commit("of-g", "of-none"));
  await peer.note("no such index", api, 9, commit("of-g", "of", "", -1, { partitionIndex: 5 }));
  await peer.note(
    "negative offset",
    api,
    9,
    commit("of-g2", "of", "", -1, { committedOffset: -1 }),
  );
  const long = { committedMetadata: "m".repeat(5000) };
  await peer.note("long metadata", api, 9, commit("of-g", "of", "", -1, long));
  const none = { committedMetadata: null };
  await peer.note("null metadata", api, 9, commit("of-g3", "of", "", -1, none));
  await peer.note("no group", api, 9, commit("", "of"));
  await peer.note("stranger", api, 9, commit("of-g", "of", "x", 1));
  await peer.note("stranger, no group yet", api, 9, commit("of-new", "of", "x", 1));
  await peer.note("generation, no member", api, 9, commit("of-g", "of", "", 3));
  await peer.note("nothing", api, 9, { ...commit("of-g", "of"), topics: [] });
  await fetches(peer, id);
  const partitions = [{ partitionIndex: 0 }, { partitionIndex: 1 }, { partitionIndex: 9 }];
  const remove = (groupId: string, name = "of") => ({ groupId, topics: [{ name, partitions }] });
  for (const [group, name] of [
    ["of-g", "of"],
    ["of-g", "of-none"],
    ["of-none", "of"],
    ["", "of"],
  ] as const) {
    await peer.note(`delete ${group} ${name}`, offsetDeleteApi, 0, remove(group, name));
  }
  await peer.note("after delete", offsetFetchApi, 7, { groupId: "of-g", topics: null });
  await peer.note("groups", describeGroupsApi, 6, { groups: ["of-g", "of-g2", "of-g3", "of-new"] });
  await peer.note("delete", deleteGroupsApi, 2, { groupsNames: ["of-g3"] });
}

async function fetches(peer: Peer, id: string): Promise<void> {
  const api = offsetFetchApi;
  const topics = [
    { name: "of", partitionIndexes: [0, 1, 7] },
    { name: "of-none", partitionIndexes: [0] },
  ];
  await peer.every("two", api, [1, 7], () => ({ groupId: "of-g", topics }));
  await peer.every("all", api, [2, 7], () => ({ groupId: "of-g", topics: null }));
  await peer.every("no such group", api, [1, 7], () => ({ groupId: "of-no", topics }));
  await peer.note("all of none", api, 7, { groupId: "of-no", topics: null });
  await peer.note("no group", api, 7, { groupId: "", topics });
  await peer.note("null metadata", api, 7, { groupId: "of-g3", topics });
  await peer.note("stable", api, 7, { groupId: "of-g", topics, requireStable: true });
  await peer.every("many", api, [8, 9], () => ({
    groups: [
      { groupId: "of-g", topics },
      { groupId: "of-no", topics: null },
      { groupId: "", topics },
      { groupId: "of-g2", topics: [] },
    ],
  }));
  await peer.note("a member", api, 9, {
    groups: [{ groupId: "of-g", memberId: "x", memberEpoch: 3, topics }],
  });
  await peer.note("by id", api, 10, {
    groups: [
      {
        groupId: "of-g",
        topics: [
          { topicId: id, partitionIndexes: [0] },
          { topicId: unknownId, partitionIndexes: [0] },
        ],
      },
      { groupId: "of-g", topics: null },
    ],
  });
  await peer.note("by filters", listGroupsApi, 5, { statesFilter: ["empty", "x"] });
  await peer.note("by type", listGroupsApi, 5, { typesFilter: ["share"] });
  await peer.note("by bad type", listGroupsApi, 5, { typesFilter: ["x"] });
  await peer.every("all", listGroupsApi, [0, 3], () => ({}));
}

export const groupCases: Readonly<Record<string, Case>> = {
  coordinator: coordinator,
  groups: groups,
  "static-members": staticMember,
  offsets: offsets,
};
