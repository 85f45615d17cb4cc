import { offsetCommitHandler } from "../../src/api/08-offset-commit.ts";
import { offsetFetchHandler } from "../../src/api/09-offset-fetch.ts";
import { joinGroupHandler } from "../../src/api/11-join-group.ts";
import { heartbeatHandler } from "../../src/api/12-heartbeat.ts";
import { leaveGroupHandler } from "../../src/api/13-leave-group.ts";
import { syncGroupHandler } from "../../src/api/14-sync-group.ts";
import type { Decoded } from "../../src/protocol/api-codec.ts";
import type { JoinGroupResponse } from "../../src/protocol/messages/11-join-group.ts";
import type { SyncGroupResponse } from "../../src/protocol/messages/14-sync-group.ts";
import { encodeSubscription } from "../transcripts/group/runner.ts";
import { type Harness, settle } from "./harness.ts";

export const text = (value: string): Uint8Array => new TextEncoder().encode(value);
export const plain = (value: Uint8Array): string => new TextDecoder().decode(value);

export interface JoinOptions {
  readonly memberId?: string;
  readonly instance?: string;
  readonly topics?: readonly string[];
  readonly version?: number;
  readonly sessionTimeoutMs?: number;
  readonly clientId?: string;
  readonly protocolType?: string;
}

/** JoinGroup, not waited for. */
export function join(
  world: Harness,
  groupId: string,
  options: JoinOptions = {},
): Promise<Decoded<JoinGroupResponse>> {
  const version = options.version ?? 9;
  return world.call(
    joinGroupHandler,
    version,
    {
      groupId,
      sessionTimeoutMs: options.sessionTimeoutMs ?? 10_000,
      rebalanceTimeoutMs: 60_000,
      memberId: options.memberId ?? "",
      ...(options.instance === undefined ? {} : { groupInstanceId: options.instance }),
      protocolType: options.protocolType ?? "consumer",
      protocols: [{ name: "range", metadata: encodeSubscription(options.topics ?? ["t1"]) }],
    },
    options.clientId ?? "c",
  );
}

/** Both steps of a dynamic member's join; resolves with the second answer. */
export async function joinTwice(
  world: Harness,
  groupId: string,
  options: JoinOptions = {},
): Promise<Decoded<JoinGroupResponse>> {
  const first = await join(world, groupId, options);
  const second = join(world, groupId, { ...options, memberId: first.memberId });
  await settle();
  world.clock.advance(0);
  return await second;
}

export function sync(
  world: Harness,
  groupId: string,
  member: { memberId: string; generationId: number; instance?: string; version?: number },
  assignments: Readonly<Record<string, string>> = {},
): Promise<Decoded<SyncGroupResponse>> {
  const version = member.version ?? 5;
  return world.call(syncGroupHandler, version, {
    groupId,
    generationId: member.generationId,
    memberId: member.memberId,
    ...(member.instance === undefined ? {} : { groupInstanceId: member.instance }),
    ...(version < 5 ? {} : { protocolType: "consumer", protocolName: "range" }),
    assignments: Object.entries(assignments).map(([memberId, assignment]) => ({
      memberId,
      assignment: text(assignment),
    })),
  });
}

export async function heartbeat(
  world: Harness,
  groupId: string,
  memberId: string,
  generationId: number,
): Promise<number> {
  const request = { groupId, memberId, generationId };
  return (await world.call(heartbeatHandler, 4, request)).errorCode;
}

export async function leave(world: Harness, groupId: string, memberId: string): Promise<number> {
  const answer = await world.call(leaveGroupHandler, 2, { groupId, memberId });
  return answer.errorCode;
}

/** Commits one offset of t1-0; resolves with the partition's error. */
export async function commit(
  world: Harness,
  groupId: string,
  offset: number,
  options: { memberId?: string; generationId?: number; topic?: string; metadata?: string } = {},
): Promise<number> {
  const answer = await world.call(offsetCommitHandler, 8, {
    groupId,
    generationIdOrMemberEpoch: options.generationId ?? -1,
    memberId: options.memberId ?? "",
    topics: [
      {
        name: options.topic ?? "t1",
        partitions: [
          {
            partitionIndex: 0,
            committedOffset: offset,
            committedMetadata: options.metadata ?? "",
          },
        ],
      },
    ],
  });
  return answer.topics[0]!.partitions[0]!.errorCode;
}

/** The committed offset of t1-0; −1 for none. */
export async function fetchOne(world: Harness, groupId: string, topic = "t1"): Promise<number> {
  const topics = [{ name: topic, partitionIndexes: [0] }];
  const answer = await world.call(offsetFetchHandler, 7, { groupId, topics });
  return answer.topics[0]!.partitions[0]!.committedOffset;
}

/** A stable group with one member that owns everything. */
export async function stableGroup(world: Harness, groupId: string): Promise<string> {
  const { memberId, generationId } = await joinTwice(world, groupId);
  await sync(world, groupId, { memberId, generationId }, { [memberId]: "all" });
  return memberId;
}
