import { assert } from "../lib/assert.ts";
import { ErrorCode } from "../protocol/error-code.ts";
import type { GroupConfig } from "./config.ts";
import type {
  GroupEffect,
  GroupSnapshot,
  GroupStateName,
  JoinedMember,
  JoinResponse,
  MemberProtocol,
  MemberSnapshot,
  PersistToken,
  RequestToken,
} from "./group-types.ts";
import {
  emptyBytes,
  type Member,
  memberBytes,
  metadataOf,
  pendingBytes,
  voteOf,
} from "./member.ts";
import { subscribedTopicsOf } from "./subscription.ts";

/** From which states each state may be entered. */
const previousStates: Readonly<Record<GroupStateName, readonly GroupStateName[]>> = {
  Empty: ["PreparingRebalance"],
  PreparingRebalance: ["Stable", "CompletingRebalance", "Empty"],
  CompletingRebalance: ["PreparingRebalance"],
  Stable: ["CompletingRebalance"],
  Dead: ["Stable", "PreparingRebalance", "CompletingRebalance", "Empty", "Dead"],
};

export const consumerProtocolType = "consumer";

/** A write in flight and what to do when it is durable. */
export type PendingPersist =
  | { readonly kind: "empty" }
  | {
      readonly kind: "assignment";
      readonly generationId: number;
      readonly assignments: ReadonlyMap<string, Uint8Array>;
    }
  | {
      readonly kind: "staticMember";
      readonly request: RequestToken;
      readonly generationId: number;
      readonly groupInstanceId: string;
      readonly memberId: string;
      /** The member as it was, put back if the write fails. */
      readonly replaced: Member;
      readonly previousLeader: string;
      readonly canSkipAssignment: boolean;
    };

/**
 * The data of one classic group and the small changes to it. Invariants: every member offers at
 * least one protocol all members offer; `leader` is a member or null; `awaitingJoinCount` is the
 * number of members with a waiting JoinGroup.
 */
export class GroupState {
  readonly groupId: string;
  readonly config: GroupConfig;
  name: GroupStateName = "Empty";
  previous: GroupStateName = "Dead";
  stateTimestampMs: number;
  generationId = 0;
  protocolType: string | null = null;
  protocolName: string | null = null;
  leader: string | null = null;
  readonly members = new Map<string, Member>();
  /** group.instance.id → member id. */
  readonly staticMembers = new Map<string, string>();
  /** Ids handed out (MEMBER_ID_REQUIRED) and not joined yet. */
  readonly pendingJoin = new Set<string>();
  /** Members of this generation that have not sent SyncGroup. */
  readonly pendingSync = new Set<string>();
  readonly pendingPersists = new Map<PersistToken, PendingPersist>();
  /** Topics the members subscribe to; null when unknown (no consumer group, or unreadable). */
  subscribedTopics: ReadonlySet<string> | null = null;
  awaitingJoinCount = 0;
  /** A member came during the initial rebalance delay, which extends it. */
  newMemberAdded = false;
  /** The initial rebalance delay that runs, and what may still be added to it. */
  initialDelay: { readonly delayMs: number; readonly remainingMs: number } | null = null;
  /** Bytes held for members, roughly. */
  sizeBytes = 0;
  private readonly protocolCounts = new Map<string, number>();
  private effects: GroupEffect[] = [];
  private nextPersistToken = 1;

  constructor(groupId: string, config: GroupConfig, nowMs: number) {
    this.groupId = groupId;
    this.config = config;
    this.stateTimestampMs = nowMs;
  }

  emit(effect: GroupEffect): void {
    this.effects.push(effect);
  }

  takeEffects(): GroupEffect[] {
    const effects = this.effects;
    this.effects = [];
    return effects;
  }

  transitionTo(name: GroupStateName, nowMs: number): void {
    assert(
      previousStates[name].includes(this.name),
      `group ${this.groupId} cannot go from ${this.name} to ${name}`,
    );
    this.previous = this.name;
    this.name = name;
    this.stateTimestampMs = nowMs;
  }

  canRebalance(): boolean {
    return previousStates.PreparingRebalance.includes(this.name);
  }

  hasAllMembersJoined(): boolean {
    return this.members.size === this.awaitingJoinCount && this.pendingJoin.size === 0;
  }

  /** The group waits as long as its slowest member may need. */
  rebalanceTimeoutMs(): number {
    let timeoutMs = 0;
    for (const member of this.members.values()) {
      timeoutMs = Math.max(timeoutMs, member.rebalanceTimeoutMs);
    }
    return timeoutMs;
  }

  add(member: Member, protocolType: string): void {
    assert(!this.members.has(member.memberId), `member ${member.memberId} is there already`);
    if (member.groupInstanceId !== null) {
      assert(!this.staticMembers.has(member.groupInstanceId), "static member is there already");
      this.staticMembers.set(member.groupInstanceId, member.memberId);
    }
    if (this.members.size === 0) this.protocolType = protocolType;
    assert(this.protocolType === protocolType, "one group has one protocol type");
    this.leader ??= member.memberId;
    this.insert(member);
    this.removePending(member.memberId);
  }

  /** Hands out an id; its holder is no member before it joins with it. */
  addPending(memberId: string): void {
    assert(!this.pendingJoin.has(memberId), `${memberId} was handed out before`);
    this.pendingJoin.add(memberId);
    this.sizeBytes += pendingBytes(memberId);
  }

  /** Forgets a member or a pending id; its waiting requests must have been answered. */
  remove(memberId: string): void {
    const member = this.members.get(memberId);
    if (member !== undefined) {
      assert(member.joinRequest === null && member.syncRequest === null, "unanswered request");
      this.erase(member);
      if (member.groupInstanceId !== null) this.staticMembers.delete(member.groupInstanceId);
    }
    if (this.leader === memberId) {
      const [first] = this.members.keys();
      this.leader = first ?? null;
    }
    this.removePending(memberId);
    this.pendingSync.delete(memberId);
  }

  /** Puts a member with a new id in the place of a static member. */
  replaceStatic(old: Member, memberId: string): Member {
    const { groupInstanceId } = old;
    assert(groupInstanceId !== null, "only a static member can be replaced");
    assert(old.joinRequest === null && old.syncRequest === null, "unanswered request");
    const replacement: Member = { ...old, memberId, isNew: false };
    this.members.delete(old.memberId);
    this.members.set(memberId, replacement);
    if (this.leader === old.memberId) this.leader = memberId;
    if (this.pendingSync.delete(old.memberId)) this.pendingSync.add(memberId);
    this.staticMembers.set(groupInstanceId, memberId);
    this.sizeBytes += memberBytes(replacement) - memberBytes(old);
    return replacement;
  }

  update(
    member: Member,
    changes: Pick<Member, "protocols" | "rebalanceTimeoutMs" | "sessionTimeoutMs">,
  ): void {
    this.count(member.protocols, -1);
    this.sizeBytes -= memberBytes(member);
    member.protocols = changes.protocols;
    member.rebalanceTimeoutMs = changes.rebalanceTimeoutMs;
    member.sessionTimeoutMs = changes.sessionTimeoutMs;
    this.sizeBytes += memberBytes(member);
    this.count(member.protocols, 1);
  }

  setAssignment(member: Member, assignment: Uint8Array): void {
    this.sizeBytes += assignment.length - member.assignment.length;
    member.assignment = assignment;
  }

  /**
   * Parks a JoinGroup with its member. An earlier one still waiting (the client gave it up) is told
   * to rejoin: every request gets one answer.
   */
  parkJoin(member: Member, request: RequestToken): void {
    this.failJoin(member, member.memberId, ErrorCode.REBALANCE_IN_PROGRESS);
    member.joinRequest = request;
    this.awaitingJoinCount++;
  }

  parkSync(member: Member, request: RequestToken): void {
    this.answerSync(member, ErrorCode.REBALANCE_IN_PROGRESS);
    member.syncRequest = request;
  }

  /** Answers the member's waiting JoinGroup, if there is one. */
  answerJoin(member: Member, response: JoinResponse): boolean {
    if (member.joinRequest === null) return false;
    this.emit({ kind: "respondJoin", request: member.joinRequest, response });
    member.joinRequest = null;
    this.awaitingJoinCount--;
    return true;
  }

  failJoin(member: Member, memberId: string, errorCode: number): boolean {
    return this.answerJoin(member, joinFailure(memberId, errorCode));
  }

  /** Answers the member's waiting SyncGroup, if there is one, with its assignment or an error. */
  answerSync(member: Member, errorCode: number): boolean {
    if (member.syncRequest === null) return false;
    const ok = errorCode === ErrorCode.NONE;
    this.emit({
      kind: "respondSync",
      request: member.syncRequest,
      response: {
        errorCode,
        protocolType: ok ? this.protocolType : null,
        protocolName: ok ? this.protocolName : null,
        assignment: ok ? member.assignment : emptyBytes,
      },
    });
    member.syncRequest = null;
    return true;
  }

  /** The current generation as told to one member; the leader's answer lists all members. */
  joinResponse(memberId: string, members: readonly JoinedMember[]): JoinResponse {
    return {
      errorCode: ErrorCode.NONE,
      memberId,
      generationId: this.generationId,
      protocolType: this.protocolType,
      protocolName: this.protocolName,
      leader: this.leader ?? "",
      skipAssignment: false,
      members,
    };
  }

  joinedMembers(): JoinedMember[] {
    const { protocolName } = this;
    assert(protocolName !== null, "a generation with members has a protocol");
    return [...this.members.values()].map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      metadata: metadataOf(member, protocolName),
    }));
  }

  restartSession(member: Member, timeoutMs = member.sessionTimeoutMs): void {
    this.emit({ kind: "setTimer", timer: sessionTimer(member.memberId), delayMs: timeoutMs });
  }

  endSession(memberId: string): void {
    this.emit({ kind: "cancelTimer", timer: sessionTimer(memberId) });
  }

  /** May a member with these protocols be in this group? */
  supports(protocolType: string, protocols: readonly MemberProtocol[]): boolean {
    if (this.name === "Empty") return protocolType !== "" && protocols.length > 0;
    if (this.protocolType !== protocolType) return false;
    return protocols.some(
      (protocol) => (this.protocolCounts.get(protocol.name) ?? 0) === this.members.size,
    );
  }

  /** Each member votes for its first choice among the shared protocols; ties: the first vote. */
  selectProtocol(): string {
    const candidates = new Set<string>();
    for (const [name, count] of this.protocolCounts) {
      if (count === this.members.size) candidates.add(name);
    }
    const votes = new Map<string, number>();
    for (const member of this.members.values()) {
      const vote = voteOf(member, candidates);
      votes.set(vote, (votes.get(vote) ?? 0) + 1);
    }
    let winner: string | null = null;
    let votesMost = 0;
    for (const [name, count] of votes) {
      if (count > votesMost) [winner, votesMost] = [name, count];
    }
    assert(winner !== null, "an empty group selects no protocol");
    return winner;
  }

  refreshSubscribedTopics(): void {
    this.subscribedTopics = this.readSubscribedTopics();
  }

  /** Unknown subscriptions of a consumer group count as "every topic". */
  isSubscribedTo(topic: string): boolean {
    return this.subscribedTopics?.has(topic) ?? this.protocolType === consumerProtocolType;
  }

  persist(pending: PendingPersist, assignments: ReadonlyMap<string, Uint8Array> | null): void {
    const token = this.nextPersistToken++;
    this.pendingPersists.set(token, pending);
    this.emit({ kind: "persist", token, snapshot: this.snapshot(assignments) });
  }

  /** The group as stored; `assignments` stands in for the members' current ones. */
  snapshot(assignments: ReadonlyMap<string, Uint8Array> | null): GroupSnapshot {
    const { protocolName } = this;
    const members: MemberSnapshot[] = [];
    for (const member of this.members.values()) {
      assert(protocolName !== null, "a stored member has a protocol");
      members.push({
        memberId: member.memberId,
        groupInstanceId: member.groupInstanceId,
        clientId: member.clientId,
        clientHost: member.clientHost,
        rebalanceTimeoutMs: member.rebalanceTimeoutMs,
        sessionTimeoutMs: member.sessionTimeoutMs,
        subscription: metadataOf(member, protocolName),
        assignment: assignments?.get(member.memberId) ?? member.assignment,
      });
    }
    return {
      protocolType: this.protocolType ?? "",
      generationId: this.generationId,
      protocolName,
      leader: this.leader,
      stateTimestampMs: this.stateTimestampMs,
      members,
    };
  }

  /** Fills a fresh group from the log. */
  restore(snapshot: GroupSnapshot): void {
    assert(this.members.size === 0 && this.name === "Empty", "restore needs a fresh group");
    this.generationId = snapshot.generationId;
    this.protocolType = snapshot.protocolType === "" ? null : snapshot.protocolType;
    this.protocolName = snapshot.protocolName;
    this.leader = snapshot.leader;
    this.stateTimestampMs = snapshot.stateTimestampMs;
    for (const stored of snapshot.members) {
      const { subscription, ...rest } = stored;
      const protocols = [{ name: snapshot.protocolName ?? "", metadata: subscription }];
      this.add(
        { ...rest, protocols, joinRequest: null, syncRequest: null, isNew: false },
        snapshot.protocolType,
      );
    }
    if (this.members.size > 0) this.name = "Stable";
    this.refreshSubscribedTopics();
  }

  private removePending(memberId: string): void {
    if (this.pendingJoin.delete(memberId)) this.sizeBytes -= pendingBytes(memberId);
  }

  private readSubscribedTopics(): ReadonlySet<string> | null {
    if (this.protocolType !== consumerProtocolType) return null;
    const topics = new Set<string>();
    if (this.members.size === 0) return topics;
    if (this.protocolName === null) return null;
    for (const member of this.members.values()) {
      const memberTopics = subscribedTopicsOf(metadataOf(member, this.protocolName));
      if (memberTopics === null) return null;
      for (const topic of memberTopics) topics.add(topic);
    }
    return topics;
  }

  private insert(member: Member): void {
    this.members.set(member.memberId, member);
    this.count(member.protocols, 1);
    this.sizeBytes += memberBytes(member);
    if (member.joinRequest !== null) this.awaitingJoinCount++;
  }

  private erase(member: Member): void {
    this.members.delete(member.memberId);
    this.count(member.protocols, -1);
    this.sizeBytes -= memberBytes(member);
  }

  private count(protocols: readonly MemberProtocol[], change: 1 | -1): void {
    for (const { name } of protocols) {
      const count = (this.protocolCounts.get(name) ?? 0) + change;
      if (count === 0) this.protocolCounts.delete(name);
      else this.protocolCounts.set(name, count);
    }
  }
}

export function sessionTimer(memberId: string): string {
  return `session/${memberId}`;
}

export function joinFailure(memberId: string, errorCode: number): JoinResponse {
  return {
    errorCode,
    memberId,
    generationId: -1,
    protocolType: null,
    protocolName: null,
    leader: "",
    skipAssignment: false,
    members: [],
  };
}
