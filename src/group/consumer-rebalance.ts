import { assert } from "../lib/assert.ts";
import { inPortions, Pace, type Portions, runSome } from "../lib/turn-budget.ts";
import { type Assignor, assignors } from "./assignors.ts";
import type { GroupConfig } from "./config.ts";
import { ConsumerDraft } from "./consumer-draft.ts";
import {
  type ConsumerMember,
  isReconciledTo,
  sameTarget,
  type TargetPartitions,
} from "./consumer-member.ts";
import { encodeConsumerChange } from "./consumer-records.ts";
import { consumerSettings } from "./consumer-settings.ts";
import type { ConsumerState } from "./consumer-state.ts";
import { assignmentTask, metadataHash, subscribedTopicIds } from "./consumer-topics.ts";
import { type ReportedPartitions, reconcile } from "./current-assignment.ts";
import type { RecordStep, StepContext } from "./group-kinds.ts";
import type { OffsetsRecord } from "./ports.ts";

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

/** Portions of an assignment that are computed in the step that asks for it. */
const inlinePortionsMax = 6;

interface NewTarget {
  readonly memberId: string;
  readonly before: TargetPartitions | null;
  readonly value: TargetPartitions;
  readonly record: OffsetsRecord;
}

/**
 * Computes a new target for everyone, if the group epoch asks for one and it is time. A large one
 * is computed beside other work, as in Kafka where `group.consumer.assignor.offload.enable` says
 * so; the members go on with the target there is until then.
 */
export function updateTarget(draft: ConsumerDraft): void {
  const { state, context } = draft;
  if (state.targetEpoch.epoch >= state.group.epoch || state.isAssigning) return;
  const { assignmentIntervalMs } = consumerSettings(state.groupId, context);
  const { timestampMs } = state.targetEpoch;
  const isUnlimited = timestampMs === 0 || assignmentIntervalMs === 0;
  if (!isUnlimited && context.nowMs < timestampMs + assignmentIntervalMs) return;
  const assign = assignors.get(assignorName(draft));
  assert(assign !== undefined, "members may only ask for assignors that exist");
  const { epoch } = state.group;
  const portions = newTargets(state, context, assign);
  const found = runSome(portions, inlinePortionsMax);
  if (found !== null) {
    applyTargets(draft, epoch, found.result);
    return;
  }
  // Nobody is in an epoch before the first one.
  if (state.targetEpoch.epoch < 0) {
    draft.change({ type: "targetEpoch", value: { epoch: epoch - 1, timestampMs: 0 } });
  }
  draft.computeLater(
    { lane: "assignments", portions: assignedLater(state, epoch, portions) },
    () => {
      state.isAssigning = true;
    },
  );
}

/** Every member's target where that is not what it has; what the group is now counts. */
function* newTargets(
  state: ConsumerState,
  { topics, nowMs }: StepContext,
  assign: Assignor,
): Generator<void, readonly NewTarget[]> {
  const pace = new Pace();
  const { groupId } = state;
  const targets = new Map<string, TargetPartitions | null>();
  for (const memberId of state.members.keys()) {
    targets.set(memberId, state.targets.get(memberId) ?? null);
  }
  const task = yield* inPortions(assignmentTask(state, topics));
  const assignment = yield* inPortions(assign(task));
  const found: NewTarget[] = [];
  for (const [memberId, before] of targets) {
    const value = assignment.get(memberId) ?? new Map<string, readonly number[]>();
    if (pace.isDue(1 + value.size)) yield;
    if (before !== null && sameTarget(before, value)) continue;
    const record = encodeConsumerChange(groupId, { type: "target", memberId, value }, nowMs);
    found.push({ memberId, before, value, record });
    if (pace.isDue(1 + record.key.length + (record.value?.length ?? 0) / 4)) yield;
  }
  return found;
}

function* assignedLater(
  state: ConsumerState,
  epoch: number,
  portions: Portions<readonly NewTarget[]>,
): Generator<void, (context: StepContext) => RecordStep<void>> {
  const found = yield* inPortions(portions);
  return (context) => {
    const draft = new ConsumerDraft(state, context);
    state.isAssigning = false;
    // What it was computed for may have been taken back. If the group has gone on since, this is
    // a step on the way; were it dropped, a group that never rests would get no target at all.
    if (epoch <= state.group.epoch && epoch > state.targetEpoch.epoch) {
      applyTargets(draft, epoch, found);
    }
    return draft.done(undefined);
  };
}

function applyTargets(draft: ConsumerDraft, epoch: number, found: readonly NewTarget[]): void {
  const { state, context } = draft;
  for (const { memberId, before, value, record } of found) {
    // It left, or another took its place, since this was computed.
    if (!state.members.has(memberId) || (state.targets.get(memberId) ?? null) !== before) continue;
    // The epoch comes last: until then the group asks for a target anew.
    draft.mayBreak();
    draft.change({ type: "target", memberId, value }, record);
  }
  if (found.length > 0) draft.mayBreak();
  draft.change({ type: "targetEpoch", value: { epoch, timestampMs: context.nowMs } });
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
