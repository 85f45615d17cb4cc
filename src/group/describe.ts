import { ErrorCode } from "../protocol/error-code.ts";
import type { DescribedGroup, FetchedPartition, ListedGroup } from "./api-types.ts";
import type { ClassicEntry, Entry } from "./entry.ts";
import { emptyBytes, metadataOf } from "./member.ts";
import type { CommittedOffset } from "./offsets.ts";

/** A group as ListGroups shows it. */
export function listedGroup(entry: Entry): ListedGroup {
  const { groupId, group } = entry;
  const { protocolType, stateName, kind } = group;
  return { groupId, protocolType, state: stateName, type: kind };
}

/** A group as DescribeGroups shows it: protocol and subscriptions only while they are settled. */
export function describedGroup(entry: ClassicEntry): DescribedGroup {
  const { state } = entry.group;
  const settled = state.name === "Stable" ? state.protocolName : null;
  return {
    errorCode: ErrorCode.NONE,
    groupId: entry.groupId,
    state: state.name,
    protocolType: state.protocolType ?? "",
    protocolData: settled ?? "",
    members: [...state.members.values()].map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      metadata: settled === null ? emptyBytes : metadataOf(member, settled),
      assignment: member.assignment,
    })),
  };
}

export function undescribedGroup(groupId: string, errorCode: number): DescribedGroup {
  // Before v6 a group that is not there is described as one in state Dead.
  const state = errorCode === ErrorCode.GROUP_ID_NOT_FOUND ? "Dead" : "";
  return { errorCode, groupId, state, protocolType: "", protocolData: "", members: [] };
}

export function fetchedPartition(
  partition: number,
  committed: CommittedOffset | null,
): FetchedPartition {
  return {
    partition,
    errorCode: ErrorCode.NONE,
    offset: committed?.offset ?? -1,
    leaderEpoch: committed?.leaderEpoch ?? -1,
    metadata: committed?.metadata ?? "",
  };
}
