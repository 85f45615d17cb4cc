import { assert } from "../lib/assert.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import { classicHeartbeat, classicJoin, classicLeave, classicSync } from "./consumer-classic.ts";
import { ConsumerDraft } from "./consumer-draft.ts";
import { fenceMembers } from "./consumer-fence.ts";
import {
  type ConsumerHeartbeat,
  type ConsumerHeartbeatAnswer,
  memberHeartbeat,
  memberLeaves,
} from "./consumer-heartbeat.ts";
import { isReconciledTo, MemberState } from "./consumer-member.ts";
import { consumerTombstones } from "./consumer-migration.ts";
import { consumerRecordTypes, decodeConsumerChange } from "./consumer-records.ts";
import { consumerSettings } from "./consumer-settings.ts";
import { type ConsumerChange, ConsumerState } from "./consumer-state.ts";
import type {
  KindReplay,
  RecordGroup,
  RecordStep,
  StepContext,
  TimerEffect,
} from "./group-kinds.ts";
import { consumerProtocolType } from "./group-state.ts";
import type {
  HeartbeatEvent,
  JoinEvent,
  JoinResponse,
  LeaveResponse,
  LeavingMember,
  SyncEvent,
  SyncResponse,
} from "./group-types.ts";
import type { ExpiryRule } from "./offsets.ts";
import type { OffsetsRecord } from "./ports.ts";

/** First version of OffsetCommit that names topics by id. */
const topicIdsFrom = 10;

/** Who commits or reads offsets, as the request says. */
export interface OffsetsClient {
  readonly memberId: string | null;
  readonly memberEpoch: number;
}

/** May this partition be committed? Answers with an ErrorCode. */
export type CommitCheck = (topicId: string, partition: number) => number;

/**
 * A group of the consumer protocol (KIP-848): the coordinator assigns, members are told to give up
 * and to take partitions in their heartbeats, and no partition goes to its next owner before the
 * last one has said that it is done. Rules as in Apache Kafka 4.3's group coordinator.
 */
export class ConsumerGroup implements RecordGroup {
  readonly kind = "consumer";
  readonly protocolType = consumerProtocolType;
  readonly state: ConsumerState;
  /** The version of the topics the group epoch was last checked against. */
  private topicsVersion = -1;

  constructor(state: ConsumerState) {
    this.state = state;
  }

  get groupId(): string {
    return this.state.groupId;
  }

  get stateName(): string {
    const { members, group, targetEpoch } = this.state;
    if (members.size === 0) return "Empty";
    if (group.epoch > targetEpoch.epoch) return "Assigning";
    for (const member of members.values()) {
      if (!isReconciledTo(member, targetEpoch.epoch)) return "Reconciling";
    }
    return "Stable";
  }

  get sizeBytes(): number {
    return this.state.sizeBytes;
  }

  get isVacant(): boolean {
    return this.state.isFresh;
  }

  get isUnused(): boolean {
    return this.state.members.size === 0;
  }

  isSubscribedTo(topic: string): boolean {
    return this.state.subscriptions.has(topic);
  }

  /** Offsets of topics nobody reads age from their commits. */
  expiryRule(): ExpiryRule {
    return { sinceMs: null };
  }

  tombstones(timestamp: number): OffsetsRecord[] {
    return consumerTombstones(this.state, timestamp);
  }

  heartbeat(request: ConsumerHeartbeat, context: StepContext): RecordStep<ConsumerHeartbeatAnswer> {
    const draft = new ConsumerDraft(this.state, context);
    if (request.memberEpoch < 0) return memberLeaves(draft, request);
    const step = memberHeartbeat(draft, request, this.topicsChanged(context));
    return this.noteTopics(step, step.answer.errorCode, context);
  }

  join(event: JoinEvent, context: StepContext): RecordStep<JoinResponse> {
    const draft = new ConsumerDraft(this.state, context);
    const step = classicJoin(draft, event, this.topicsChanged(context));
    return this.noteTopics(step, step.answer.errorCode, context);
  }

  sync(event: SyncEvent, context: StepContext): RecordStep<SyncResponse> {
    return classicSync(new ConsumerDraft(this.state, context), event);
  }

  classicHeartbeat(event: HeartbeatEvent, context: StepContext): RecordStep<number> {
    return classicHeartbeat(new ConsumerDraft(this.state, context), event);
  }

  leave(members: readonly LeavingMember[], context: StepContext): RecordStep<LeaveResponse> {
    return classicLeave(new ConsumerDraft(this.state, context), members);
  }

  onTimer(timer: string, context: StepContext): RecordStep<void> {
    const draft = new ConsumerDraft(this.state, context);
    const slash = timer.indexOf("/");
    assert(slash > 0, `no such timer: ${timer}`);
    const member = draft.member(timer.slice(slash + 1));
    if (member === null) return draft.done(undefined);
    const isRevoking = member.state === MemberState.UNREVOKED_PARTITIONS;
    // A member that has revoked in time left this state, and its timer was cancelled with it.
    if (timer.startsWith("rebalance/") && !isRevoking) return draft.done(undefined);
    return fenceMembers(draft, [member], undefined);
  }

  restartTimers(context: StepContext): readonly TimerEffect[] {
    const { sessionTimeoutMs } = consumerSettings(this.groupId, context);
    const timers: TimerEffect[] = [];
    for (const { memberId, classic, state, rebalanceTimeoutMs } of this.state.members.values()) {
      const delayMs = classic?.sessionTimeoutMs ?? sessionTimeoutMs;
      timers.push({ kind: "setTimer", timer: `session/${memberId}`, delayMs });
      if (state !== MemberState.UNREVOKED_PARTITIONS || classic !== null) continue;
      const timer = `rebalance/${memberId}`;
      timers.push({ kind: "setTimer", timer, delayMs: rebalanceTimeoutMs });
    }
    return timers;
  }

  /**
   * May this client commit? An ErrorCode, or how to tell for each partition: a member one or more
   * epochs behind may still commit what was its own all along.
   */
  checkCommit({ memberId, memberEpoch }: OffsetsClient, apiVersion: number): number | CommitCheck {
    if (memberEpoch < 0 && this.state.members.size === 0) return ErrorCode.NONE;
    const member = this.state.members.get(memberId ?? "");
    if (member === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
    const isClassic = member.classic !== null;
    if (!isClassic && apiVersion < 9) return ErrorCode.UNSUPPORTED_VERSION;
    if (memberEpoch === member.epoch) return ErrorCode.NONE;
    const stale = isClassic ? ErrorCode.ILLEGAL_GENERATION : ErrorCode.STALE_MEMBER_EPOCH;
    // Earlier versions name no topic ids, by which Kafka finds what the member has.
    if (memberEpoch > member.epoch || apiVersion < topicIdsFrom) return stale;
    return (topicId, partition) => {
      const since =
        member.assigned.get(topicId)?.get(partition) ??
        member.pendingRevocation.get(topicId)?.get(partition);
      return since === undefined || memberEpoch < since ? stale : ErrorCode.NONE;
    };
  }

  /** May this client read offsets? An ErrorCode. */
  checkFetch({ memberId, memberEpoch }: OffsetsClient): number {
    if (memberId === null && memberEpoch < 0) return ErrorCode.NONE;
    const member = this.state.members.get(memberId ?? "");
    if (member === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
    if (memberEpoch === member.epoch) return ErrorCode.NONE;
    return member.classic !== null ? ErrorCode.ILLEGAL_GENERATION : ErrorCode.STALE_MEMBER_EPOCH;
  }

  private topicsChanged(context: StepContext): boolean {
    return this.topicsVersion !== context.topics.topicsVersion;
  }

  /** The step has looked at the topics as they are; should it be taken back, the next one must. */
  private noteTopics<Answer>(
    step: RecordStep<Answer>,
    errorCode: number,
    context: StepContext,
  ): RecordStep<Answer> {
    if (errorCode !== ErrorCode.NONE) return step;
    this.topicsVersion = context.topics.topicsVersion;
    const undo = (kept: number): void => {
      this.topicsVersion = -1;
      step.undo(kept);
    };
    return { ...step, undo };
  }
}

/** Gathers consumer groups from the records of one partition. */
export class ConsumerReplay implements KindReplay {
  readonly recordTypes = consumerRecordTypes;
  private readonly states = new Map<string, ConsumerState>();

  replay(recordType: number, key: Uint8Array, value: Uint8Array | null): void {
    const { groupId, change } = decodeConsumerChange(recordType, key, value);
    const state = this.states.get(groupId) ?? new ConsumerState(groupId);
    // The tombstone of a group that left nothing makes none.
    if (isTombstone(change) && !this.states.has(groupId)) return;
    this.states.set(groupId, state);
    state.apply(change);
  }

  groups(): RecordGroup[] {
    return [...this.states.values()].map((state) => new ConsumerGroup(state));
  }
}

function isTombstone(change: ConsumerChange): boolean {
  return change.value === null;
}
