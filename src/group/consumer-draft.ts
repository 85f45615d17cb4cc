import {
  type ConsumerMember,
  type CurrentAssignment,
  type MemberMetadata,
  MemberState,
  sameCurrent,
} from "./consumer-member.ts";
import { encodeConsumerChange } from "./consumer-records.ts";
import type { ConsumerChange, ConsumerState } from "./consumer-state.ts";
import type { ClassicSuccessor, RecordStep, StepContext, TimerEffect } from "./group-kinds.ts";
import type { OffsetsRecord } from "./ports.ts";

/** One step of a consumer group while it is decided: every change is applied at once. */
export class ConsumerDraft {
  readonly state: ConsumerState;
  readonly context: StepContext;
  readonly changes: ConsumerChange[] = [];
  private readonly inverses: ConsumerChange[] = [];
  private readonly timers: TimerEffect[] = [];

  constructor(state: ConsumerState, context: StepContext) {
    this.state = state;
    this.context = context;
  }

  change(change: ConsumerChange): void {
    this.inverses.push(this.state.apply(change));
    this.changes.push(change);
  }

  setMetadata(memberId: string, value: MemberMetadata): void {
    this.change({ type: "member", memberId, value: metadataOf(value) });
  }

  setCurrent(memberId: string, value: CurrentAssignment): void {
    const { epoch, previousEpoch, state, assigned, pendingRevocation } = value;
    const current = { epoch, previousEpoch, state, assigned, pendingRevocation };
    this.change({ type: "current", memberId, value: current });
  }

  /** The member's records go, in the order Kafka's replay wants. */
  removeMember(memberId: string): void {
    this.change({ type: "current", memberId, value: null });
    this.change({ type: "target", memberId, value: null });
    this.change({ type: "member", memberId, value: null });
  }

  member(memberId: string): ConsumerMember | null {
    return this.state.members.get(memberId) ?? null;
  }

  /** Stores what a member is to have, if that is new, and times a revocation. */
  reconcileTo(member: ConsumerMember, next: CurrentAssignment): void {
    if (sameCurrent(member, next)) return;
    this.setCurrent(member.memberId, next);
    // Members of the classic protocol have timers of their own for joining and syncing.
    if (member.classic !== null) return;
    const timer = `rebalance/${member.memberId}`;
    if (next.state === MemberState.UNREVOKED_PARTITIONS) {
      this.setTimer(timer, member.rebalanceTimeoutMs);
    } else {
      this.cancelTimer(timer);
    }
  }

  setTimer(timer: string, delayMs: number): void {
    this.timers.push({ kind: "setTimer", timer, delayMs });
  }

  /** Leaves a timer that runs alone. */
  startTimer(timer: string, delayMs: number): void {
    this.timers.push({ kind: "startTimer", timer, delayMs });
  }

  cancelTimer(timer: string): void {
    this.timers.push({ kind: "cancelTimer", timer });
  }

  cancelTimers(memberId: string): void {
    for (const kind of memberTimers) this.cancelTimer(`${kind}/${memberId}`);
  }

  /** The records of the changes so far. */
  records(): OffsetsRecord[] {
    const { groupId } = this.state;
    return this.changes.map((one) => encodeConsumerChange(groupId, one, this.context.nowMs));
  }

  done<Answer>(answer: Answer): RecordStep<Answer> {
    return { answer, records: this.records(), timers: this.timers, undo: () => this.undo() };
  }

  /** The group is given up for a classic one, whose records come behind the step's own. */
  doneAs<Answer>(answer: Answer, downgrade: Downgrade): RecordStep<Answer> {
    const { records, ...becomes } = downgrade;
    const undo = (): void => this.undo();
    return { answer, records: [...this.records(), ...records], timers: [], undo, becomes };
  }

  /** Takes everything back; the answer says why. */
  refuse<Answer>(answer: Answer): RecordStep<Answer> {
    this.undo();
    return { answer, records: [], timers: [], undo: () => undefined };
  }

  private undo(): void {
    for (const inverse of this.inverses.splice(0).reverse()) this.state.apply(inverse);
  }
}

/** A consumer group on its way to a classic one. */
export interface Downgrade extends ClassicSuccessor {
  readonly records: readonly OffsetsRecord[];
}

const memberTimers = ["session", "rebalance", "join", "sync"] as const;

function metadataOf(member: MemberMetadata): MemberMetadata {
  return {
    instanceId: member.instanceId,
    rackId: member.rackId,
    clientId: member.clientId,
    clientHost: member.clientHost,
    topicNames: member.topicNames,
    topicRegex: member.topicRegex,
    rebalanceTimeoutMs: member.rebalanceTimeoutMs,
    serverAssignor: member.serverAssignor,
    classic: member.classic,
  };
}
