import { assert } from "../lib/assert.ts";
import { assignors } from "./assignors.ts";
import type { GroupConfig } from "./config.ts";
import type { ConsumerDraft } from "./consumer-draft.ts";
import { type ConsumerMember, isReconciledTo, sameTarget } from "./consumer-member.ts";
import { consumerSettings } from "./consumer-settings.ts";
import type { ConsumerState } from "./consumer-state.ts";
import { assignmentTask, metadataHash, subscribedTopicIds } from "./consumer-topics.ts";
import { type ReportedPartitions, reconcile } from "./current-assignment.ts";

/** The next group epoch, for the topics the group reads now. */
export function bumpEpoch(draft: ConsumerDraft): void {
  const { state, context } = draft;
  const hash = metadataHash(state.subscriptions, context.topics);
  const value = { epoch: state.group.epoch + 1, metadataHash: hash };
  draft.change({ type: "group", value });
}

/** Bumps the group epoch if asked to, or if a topic the group reads has changed. */
export function updateEpoch(draft: ConsumerDraft, mustBump: boolean): void {
  const { state, context } = draft;
  const hash = metadataHash(state.subscriptions, context.topics);
  if (mustBump || hash !== state.group.metadataHash) bumpEpoch(draft);
  if (state.hasPartitionMetadata) draft.change({ type: "partitionMetadata", value: null });
}

/** Computes a new target for everyone, if the group epoch asks for one and it is time. */
export function updateTarget(draft: ConsumerDraft): void {
  const { state, context } = draft;
  if (state.targetEpoch.epoch >= state.group.epoch) return;
  const { assignmentIntervalMs } = consumerSettings(state.groupId, context);
  const { timestampMs } = state.targetEpoch;
  const isUnlimited = timestampMs === 0 || assignmentIntervalMs === 0;
  if (!isUnlimited && context.nowMs < timestampMs + assignmentIntervalMs) return;
  const assign = assignors.get(assignorName(draft));
  assert(assign !== undefined, "members may only ask for assignors that exist");
  const assignment = assign(assignmentTask(state, context.topics));
  for (const memberId of state.members.keys()) {
    const value = assignment.get(memberId) ?? new Map<string, readonly number[]>();
    const old = state.targets.get(memberId);
    if (old === undefined || !sameTarget(old, value)) {
      draft.change({ type: "target", memberId, value });
    }
  }
  const value = { epoch: state.group.epoch, timestampMs: context.nowMs };
  draft.change({ type: "targetEpoch", value });
}

interface AssignorChoice {
  readonly state: ConsumerState;
  readonly context: { readonly config: GroupConfig };
}

/** The assignor most members ask for, or the broker's default. */
export function assignorName({ state, context }: AssignorChoice): string {
  let name = context.config.consumer.assignors[0] ?? "uniform";
  let countMost = 0;
  for (const [candidate, count] of state.assignorCounts) {
    // One that is stored and not offered any more is passed over.
    if (count > countMost && assignors.has(candidate)) [name, countMost] = [candidate, count];
  }
  return name;
}

/** Moves a member one step towards its target. False: it must be fenced. */
export function reconcileMember(
  draft: ConsumerDraft,
  memberId: string,
  hasSubscriptionChanged: boolean,
  reported: ReportedPartitions,
): boolean {
  const { state, context } = draft;
  const member = memberOf(draft, memberId);
  const targetEpoch = state.targetEpoch.epoch;
  if (!hasSubscriptionChanged && isReconciledTo(member, targetEpoch)) return true;
  const next = reconcile({
    member,
    target: state.targetOf(memberId),
    targetEpoch,
    hasSubscriptionChanged,
    subscribedTopicIds: subscribedTopicIds(member, state, context.topics),
    reported,
    partitionEpoch: (topicId, partition) => state.partitionEpoch(topicId, partition),
  });
  if (next === null) return false;
  draft.reconcileTo(member, next);
  return true;
}

export function memberOf(draft: ConsumerDraft, memberId: string): ConsumerMember {
  const member = draft.member(memberId);
  assert(member !== null, `member ${memberId} is there`);
  return member;
}
