import { ErrorCode } from "../../src/protocol/error-code.ts";
import { offsetFetchApi } from "../../src/protocol/messages/09-offset-fetch.ts";
import { joinGroupApi } from "../../src/protocol/messages/11-join-group.ts";
import { leaveGroupApi } from "../../src/protocol/messages/13-leave-group.ts";
import { addOffsetsToTxnApi } from "../../src/protocol/messages/25-add-offsets-to-txn.ts";
import { endTxnApi } from "../../src/protocol/messages/26-end-txn.ts";
import { txnOffsetCommitApi } from "../../src/protocol/messages/28-txn-offset-commit.ts";
import { deleteGroupsApi } from "../../src/protocol/messages/42-delete-groups.ts";
import { offsetDeleteApi } from "../../src/protocol/messages/47-offset-delete.ts";
import { consumerGroupHeartbeatApi } from "../../src/protocol/messages/68-consumer-group-heartbeat.ts";
import type { Case, Peer } from "./peer.ts";
import { create } from "./topic-cases.ts";
import { begin, settled, type Writer } from "./transaction-cases.ts";

/** TxnOffsetCommit: offsets of groups inside transactions. */

function commit(writer: Writer, groupId: string, parts: object = {}, partition: object = {}) {
  const one = { partitionIndex: 0, committedOffset: 7, committedMetadata: "m", ...partition };
  return { ...writer, groupId, topics: [{ name: "to", partitions: [one] }], ...parts };
}

const offsetsOf = (groupId: string, requireStable = false) => ({
  groupId,
  topics: [{ name: "to", partitionIndexes: [0] }],
  requireStable,
});

async function versions(peer: Peer): Promise<void> {
  await create(peer, "to", { numPartitions: 2 });
  for (let version = 0; version <= 5; version++) {
    const groupId = `to-g${version}`;
    const writer = await begin(peer, `to-${version}`);
    const note = (label: string, parts: object = {}, partition: object = {}) =>
      peer.note(label, txnOffsetCommitApi, version, commit(writer, groupId, parts, partition));
    await note("no transactional id", { transactionalId: "" });
    await note("another transactional id", { transactionalId: "to-none" });
    await note("not begun");
    await peer.ask(addOffsetsToTxnApi, 3, { ...writer, groupId });
    await note("good");
    await note("again", {}, { committedOffset: 8 });
    await note("no group", { groupId: "" });
    await note("group not added", { groupId: `${groupId}-other` });
    await note("another producer", { producerId: writer.producerId + 1_000_000 });
    await note("epoch ahead", { producerEpoch: 9 });
    await note("epoch behind", { producerEpoch: -1 });
    await note("negative offset", {}, { committedOffset: -1 });
    await note("long metadata", {}, { committedMetadata: "m".repeat(4097) });
    await note("longest metadata", {}, { committedMetadata: "m".repeat(4096) });
    await note("null metadata", {}, { committedMetadata: null });
    await note("unknown index", {}, { partitionIndex: 9 });
    await note("negative index", {}, { partitionIndex: -1 });
    await note("unknown topic", { topics: [{ name: "to-none", partitions: [] }] });
    await note("nothing", { topics: [] });
    for (const requireStable of [false, true]) {
      const request = offsetsOf(groupId, requireStable);
      await peer.note(`open of v${version}, stable ${requireStable}`, offsetFetchApi, 7, request);
    }
    await peer.note("open", offsetDeleteApi, 0, {
      groupId,
      topics: [{ name: "to", partitions: [{ partitionIndex: 0 }] }],
    });
    await peer.note("open", deleteGroupsApi, 2, { groupsNames: [groupId] });
    await peer.ask(endTxnApi, 4, { ...writer, committed: true });
    await settled(peer, writer);
    await visible(peer, groupId);
    await peer.note(`committed of v${version}`, offsetFetchApi, 7, offsetsOf(groupId, true));
    await note("over");
  }
}

/** The coordinator of a group hears of the end a moment later. */
async function visible(peer: Peer, groupId: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const { topics } = await peer.ask(offsetFetchApi, 7, offsetsOf(groupId, true));
    if (topics[0]?.partitions[0]?.errorCode === ErrorCode.NONE) return;
    await Bun.sleep(20);
  }
}

/** Members in the transaction's group (KIP-447): id, generation and instance are checked. */
async function members(peer: Peer): Promise<void> {
  await create(peer, "to");
  const writer = await begin(peer, "to-m");
  const joining = {
    groupId: "to-m",
    sessionTimeoutMs: 30_000,
    rebalanceTimeoutMs: 3000,
    memberId: "",
    protocolType: "consumer",
    protocols: [{ name: "range", metadata: new Uint8Array(0) }],
  };
  const { memberId, generationId } = await peer.ask(joinGroupApi, 3, joining);
  const beat = {
    groupId: "to-c",
    memberId: "to-member",
    memberEpoch: 0,
    rebalanceTimeoutMs: 60_000,
    subscribedTopicNames: ["to"],
    topicPartitions: [],
  };
  const { memberEpoch } = await peer.ask(consumerGroupHeartbeatApi, 1, beat);
  for (const version of [3, 4, 5]) {
    for (const groupId of ["to-m", "to-c"]) {
      const isClassic = groupId === "to-m";
      const own = isClassic ? memberId : "to-member";
      const epoch = isClassic ? generationId : memberEpoch;
      await peer.ask(addOffsetsToTxnApi, 3, { ...writer, groupId });
      const note = (label: string, member: string, generationIdOrMemberEpoch: number, parts = {}) =>
        peer.note(`${groupId} ${label}`, txnOffsetCommitApi, version, {
          ...commit(writer, groupId, parts),
          memberId: member,
          generationIdOrMemberEpoch,
        });
      await note("nobody", "", -1);
      await note("own", own, epoch);
      await note("own, generation behind", own, epoch - 1);
      await note("own, generation ahead", own, epoch + 1);
      await note("stranger", "x", epoch);
      await note("nobody with a generation", "", epoch);
      await note("own without a generation", own, -1);
      await note("unknown instance", own, epoch, { groupInstanceId: "i" });
      await note("unknown group", own, epoch, { groupId: "to-unknown" });
    }
  }
  await peer.ask(endTxnApi, 4, { ...writer, committed: false });
  await settled(peer, writer);
  await peer.ask(consumerGroupHeartbeatApi, 1, { ...beat, memberEpoch: -1 });
  await peer.ask(leaveGroupApi, 5, { groupId: "to-m", members: [{ memberId }] });
}

export const transactionOffsetCases: Readonly<Record<string, Case>> = {
  "transaction-offsets": versions,
  "transaction-members": members,
};
