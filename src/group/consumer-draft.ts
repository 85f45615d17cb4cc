import {
  type ConsumerMember,
  type CurrentAssignment,
  type MemberMetadata,
  MemberState,
  sameCurrent,
} from "./consumer-member.ts";
import { encodeConsumerChange } from "./consumer-records.ts";
import type { ConsumerChange, ConsumerState } from "./consumer-state.ts";
import type {
  ClassicSuccessor,
  LaterWork,
  RecordStep,
  StepContext,
  TimerEffect,
} from "./group-kinds.ts";
import type { OffsetsRecord } from "./ports.ts";

/** One step of a consumer group while it is decided: every change is applied at once. */
export class ConsumerDraft {
  readonly state: ConsumerState;
  readonly context: StepContext;
  readonly changes: ConsumerChange[] = [];
  private readonly inverses: ConsumerChange[] = [];
  private readonly timers: TimerEffect[] = [];
  private readonly breaks: number[] = [];
  private readonly encoded = new Map<number, OffsetsRecord>();
  private readonly later: { readonly work: LaterWork; readonly begin: () => void }[] = [];

  constructor(state: ConsumerState, context: StepContext) {
    this.state = state;
    this.context = context;
  }

  /** `encoded`: the change as a record, where that was made before. */
  change(change: ConsumerChange, encoded?: OffsetsRecord): void {
    if (encoded !== undefined) this.encoded.set(this.changes.length, encoded);
    this.inverses.push(this.state.apply(change));
    this.changes.push(change);
  }

  /** The changes so far are a state of their own: a crash, or a refusal, may leave them alone. */
  mayBreak(): void {
    const at = this.changes.length;
    if (at > 0 && this.breaks.at(-1) !== at) this.breaks.push(at);
  }

  /** Has the work done beside other work; `begin` runs if the step is taken. */
  computeLater(work: LaterWork, begin: () => void): void {
    this.later.push({ work, begin });
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
    const { nowMs } = this.context;
    return this.changes.map(
      (one, index) => this.encoded.get(index) ?? encodeConsumerChange(groupId, one, nowMs),
    );
  }

  done<Answer>(answer: Answer): RecordStep<Answer> {
    const { timers, breaks } = this;
    for (const { begin } of this.later) begin();
    const later = this.later.map(({ work }) => work);
    const undo = (kept: number): void => this.undo(kept);
    return { answer, records: this.records(), breaks, timers, later, undo };
  }

  /** The group is given up for a classic one, whose records come behind the step's own. */
  doneAs<Answer>(answer: Answer, downgrade: Downgrade): RecordStep<Answer> {
    const { records, ...becomes } = downgrade;
    const undo = (): void => this.undo(0);
    return { answer, records: [...this.records(), ...records], timers: [], undo, becomes };
  }

  /** Takes everything back; the answer says why. */
  refuse<Answer>(answer: Answer): RecordStep<Answer> {
    this.undo(0);
    return { answer, records: [], timers: [], undo: () => undefined };
  }

  private undo(kept: number): void {
    for (const inverse of this.inverses.splice(kept).reverse()) this.state.apply(inverse);
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
