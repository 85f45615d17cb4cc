import { ErrorCode } from "../protocol/error-code.ts";
import {
  type ConsumerMember,
  type CurrentAssignment,
  MemberState,
  type OwnedPartitions,
  type TargetPartitions,
} from "./consumer-member.ts";

/** What a member reports to hold; null when it says nothing of it. */
export type ReportedPartitions = ReadonlyMap<string, readonly number[]> | null;

export interface ReconcileTask {
  readonly member: ConsumerMember;
  readonly target: TargetPartitions;
  readonly targetEpoch: number;
  /** The member reads other topics than before: what it has must fit them at once. */
  readonly hasSubscriptionChanged: boolean;
  /** Ids of the existing topics the member reads. */
  readonly subscribedTopicIds: ReadonlySet<string>;
  readonly reported: ReportedPartitions;
  /** Epoch at which anyone owns the partition, or −1. */
  partitionEpoch(topicId: string, partition: number): number;
}

/**
 * The member's next step towards its target: first what it must give up, in its old epoch; when it
 * reports that as gone, the new epoch with what is free. Null: the member is in a state that a
 * later version stored, and must be fenced (FENCED_MEMBER_EPOCH).
 */
export function reconcile(task: ReconcileTask): CurrentAssignment | null {
  const { member, targetEpoch } = task;
  switch (member.state) {
    case MemberState.STABLE:
      if (member.epoch !== targetEpoch) return nextAssignment(task, member.epoch);
      return task.hasSubscriptionChanged ? fitToSubscription(task) : member;
    case MemberState.UNREVOKED_PARTITIONS:
      if (reportsAny(task.reported, member.pendingRevocation)) {
        return task.hasSubscriptionChanged ? fitToSubscription(task) : member;
      }
      return nextAssignment(task, member.epoch);
    case MemberState.UNRELEASED_PARTITIONS:
      return nextAssignment(task, member.epoch);
    default: {
      const ownsNothing = task.reported !== null && task.reported.size === 0;
      return ownsNothing ? nextAssignment(task, targetEpoch) : null;
    }
  }
}

/** The error for a null result of `reconcile`. */
export const unknownStateError = ErrorCode.FENCED_MEMBER_EPOCH;

/** Takes topics away that the member does not read any more; the epoch stays. */
function fitToSubscription(task: ReconcileTask): CurrentAssignment {
  const { member, subscribedTopicIds } = task;
  const assigned = new Map(member.assigned);
  const revoked = new Map(member.pendingRevocation);
  for (const [topicId, partitions] of member.assigned) {
    if (subscribedTopicIds.has(topicId)) continue;
    assigned.delete(topicId);
    revoked.set(topicId, new Map([...(revoked.get(topicId) ?? []), ...partitions]));
  }
  if (assigned.size === member.assigned.size) return member;
  if (!reportsAny(task.reported, revoked)) {
    // They were given up before: nothing to wait for, whatever state the member is in.
    const { epoch, previousEpoch, state, pendingRevocation } = withEpoch(member, member.epoch);
    return { epoch, previousEpoch, state, assigned, pendingRevocation };
  }
  return {
    ...withEpoch(member, member.epoch),
    state: MemberState.UNREVOKED_PARTITIONS,
    assigned,
    pendingRevocation: revoked,
  };
}

function nextAssignment(task: ReconcileTask, memberEpoch: number): CurrentAssignment {
  const { member, targetEpoch } = task;
  const { assigned, revoked, pending, hasUnreleased } = compare(task);
  if (revoked.size > 0 && reportsAny(task.reported, revoked)) {
    return {
      ...withEpoch(member, memberEpoch),
      state: MemberState.UNREVOKED_PARTITIONS,
      assigned,
      pendingRevocation: revoked,
    };
  }
  for (const [topicId, partitions] of pending) {
    const owned = new Map(assigned.get(topicId));
    for (const partition of partitions) owned.set(partition, targetEpoch);
    assigned.set(topicId, owned);
  }
  return {
    ...withEpoch(member, targetEpoch),
    state: hasUnreleased ? MemberState.UNRELEASED_PARTITIONS : MemberState.STABLE,
    assigned,
    pendingRevocation: new Map(),
  };
}

/** What the member keeps, gives up and gets, and whether others still hold some of its target. */
function compare(task: ReconcileTask) {
  const { member, subscribedTopicIds } = task;
  const assigned = new Map<string, ReadonlyMap<number, number>>();
  const revoked = new Map<string, ReadonlyMap<number, number>>();
  const pending = new Map<string, number[]>();
  let hasUnreleased = false;
  for (const topicId of new Set([...task.target.keys(), ...member.assigned.keys()])) {
    const isRead = subscribedTopicIds.has(topicId);
    const target = new Set(isRead ? task.target.get(topicId) : []);
    const current = member.assigned.get(topicId) ?? new Map<number, number>();
    const kept = new Map([...current].filter(([partition]) => target.has(partition)));
    const lost = new Map([...current].filter(([partition]) => !target.has(partition)));
    const free: number[] = [];
    for (const partition of target) {
      if (kept.has(partition)) continue;
      const isHeld = task.partitionEpoch(topicId, partition) !== -1;
      // What the member itself was giving up is its own to take back.
      const isOwn = member.pendingRevocation.get(topicId)?.has(partition) ?? false;
      if (isHeld && !isOwn) hasUnreleased = true;
      else free.push(partition);
    }
    if (kept.size > 0) assigned.set(topicId, kept);
    if (lost.size > 0) revoked.set(topicId, lost);
    if (free.length > 0) pending.set(topicId, free);
  }
  return { assigned, revoked, pending, hasUnreleased };
}

function withEpoch(member: CurrentAssignment, epoch: number): CurrentAssignment {
  const { state, assigned, pendingRevocation } = member;
  return { epoch, previousEpoch: member.epoch, state, assigned, pendingRevocation };
}

/** A member that says nothing is taken to hold everything still. */
function reportsAny(reported: ReportedPartitions, owned: OwnedPartitions): boolean {
  if (reported === null) return true;
  for (const [topicId, partitions] of reported) {
    const mine = owned.get(topicId);
    if (mine !== undefined && partitions.some((partition) => mine.has(partition))) return true;
  }
  return false;
}
